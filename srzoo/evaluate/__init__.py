"""Measuring a model on a dataset, and the receipts."""
