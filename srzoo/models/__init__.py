"""The networks of the zoo, and `fuse`."""

from .base import ZooModel
from .cascade import CascadeMaskRCNN
from .dfseg import DFSeg
from .mask_rcnn import MaskRCNN
from .panoptic_fpn import PanopticFPN
from .srnet import SRNet

NETWORKS: dict[str, type[ZooModel]] = {
    "srnet": SRNet,
    "dfseg": DFSeg,
    "mask_rcnn": MaskRCNN,
    "cascade_mask_rcnn": CascadeMaskRCNN,
    "panoptic_fpn": PanopticFPN,
}

__all__ = ["NETWORKS", "CascadeMaskRCNN", "DFSeg", "MaskRCNN", "PanopticFPN", "SRNet", "ZooModel"]
