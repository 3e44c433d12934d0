"""Architectures, one file per family."""

from .dfseg import DFSeg
from .srnet import SRNet

FAMILIES = {"srnet": SRNet, "dfseg": DFSeg}

__all__ = ["FAMILIES", "DFSeg", "SRNet"]
