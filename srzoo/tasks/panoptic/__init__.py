"""Panoptic segmentation: every pixel belongs to an object or to a kind of surface."""
