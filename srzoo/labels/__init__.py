"""Classes and their colours. Imports no torch, so that `srzoo list` and `srzoo info` start fast."""

from .label_set import IGNORE, LabelSet

__all__ = ["IGNORE", "LabelSet"]
