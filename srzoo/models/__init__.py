"""Architectures, one file per family."""

from .srnet import SRNet

__all__ = ["SRNet"]
