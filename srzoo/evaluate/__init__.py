"""Evaluation of a model on a dataset, and the receipts of evaluations."""
