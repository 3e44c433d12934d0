"""The networks of the zoo, and `fuse`."""

from .base import ZooModel
from .dfseg import DFSeg
from .srnet import SRNet

NETWORKS: dict[str, type[ZooModel]] = {"srnet": SRNet, "dfseg": DFSeg}

__all__ = ["NETWORKS", "DFSeg", "SRNet", "ZooModel"]
