"""A driver for Triton that compiles kernels and launches none, for machines without a GPU."""
