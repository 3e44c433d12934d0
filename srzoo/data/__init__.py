"""Datasets: readers, one file for each layout, and the check before training."""
