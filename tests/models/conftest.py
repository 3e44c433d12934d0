"""Small detectors, and targets for them."""

import pytest
import torch

from srzoo.data.mask_windows import MaskWindows
from srzoo.models import NETWORKS

TINY = {"channels": 16, "box_channels": 24, "mask_layers": (16,)}


@pytest.fixture
def tiny():
    """Build a narrow network over a tiny backbone, in evaluation mode; half of its classes are things."""

    def build(network="mask_rcnn", num_classes=4, backbone="test_resnet", seed=0, **options):
        torch.manual_seed(seed)
        if network == "panoptic_fpn":
            options = {"things": (True, False) * (num_classes // 2), "semantic_channels": 8, **options}
        return NETWORKS[network](backbone, num_classes, **{**TINY, **options}).eval()

    return build


@pytest.fixture
def make_target():
    """A target with a filled rectangle for each box, of whole pixels."""

    def make(size, boxes, labels=None, semantic=None):
        masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes):
            mask[y0:y1, x0:x1] = 1
        labels = [0] * len(boxes) if labels is None else labels
        target = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "masks": MaskWindows.of(masks),
        }
        return target if semantic is None else {**target, "semantic": semantic}

    return make
