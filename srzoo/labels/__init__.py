"""Classes and their colours. Imports no torch, as `srzoo list` and `srzoo info` need them at once."""

from .label_set import IGNORE, LabelSet

__all__ = ["IGNORE", "LabelSet"]
