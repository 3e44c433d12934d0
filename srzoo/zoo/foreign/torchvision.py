"""torchvision's Mask R-CNN: ``maskrcnn_resnet50_fpn``, its version 2, and others of another ResNet or other classes."""

from __future__ import annotations

import torch

from ...labels.coco import COCO_CATEGORY_IDS, COCO_INSTANCE
from ..renaming import Rows, State, length
from .detector import ForeignDetector, backbone_name, further_layers, replaced, sizes

# The names before torchvision 0.13, which the file of maskrcnn_resnet50_fpn has.
_OLD = (
    (r"backbone\.fpn\.(inner|layer)_blocks\.(\d+)\.0\.", r"backbone.fpn.\1_blocks.\2."),
    (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
    (r"roi_heads\.mask_head\.(\d+)\.0\.", lambda m: f"roi_heads.mask_head.mask_fcn{int(m[1]) + 1}."),
)
_COCO_OUTPUTS = 91  # the background, and ids of categories up to 90, ten of them unused
_EPS = 1e-5  # of srzoo's BatchNorms


def recognizes(state: State) -> bool:
    """Whether these are the names of one of torchvision's detectors with a feature pyramid."""
    return any(key.startswith("rpn.head.") for key in state) and any(key.startswith("backbone.body.") for key in state)


def read(state: State) -> ForeignDetector:
    """Describe a state dict of torchvision's.

    Of 91 outputs, COCO's 80 classes are kept.

    Raises:
        ValueError: an unknown backbone.
    """
    their_name = replaced(_OLD if "rpn.head.conv.weight" in state else ())
    outputs = length(state, "roi_heads.box_predictor.cls_score.bias", _COCO_OUTPUTS)
    is_coco = outputs == _COCO_OUTPUTS
    things = len(COCO_INSTANCE.classes) if is_coco else outputs - 1
    rows = {}
    if is_coco:
        kept = Rows((0, *COCO_CATEGORY_IDS[:things]), outputs)
        rows = {
            "roi_heads.box_predictor.cls_score.": kept,
            "roi_heads.box_predictor.bbox_pred.": kept.blocks(4),
            "roi_heads.mask_predictor.mask_fcn_logits.": kept,
        }
    return ForeignDetector(
        project="torchvision",
        network="mask_rcnn",
        backbone=backbone_name(state, their_name),
        options={**sizes(state, their_name, "mask_rcnn"), **further_layers(state, their_name)},
        things=max(1, things),
        stuff=0,
        names=None,
        coco=is_coco,
        state=state,
        their_name=their_name,
        rows=rows,
        finish=_nothing if "backbone.body.bn1.num_batches_tracked" in state else _add_eps,
    )


def _nothing(state: State) -> None:
    pass


def _add_eps(state: State) -> None:
    """Let norms without eps compute the same with one, in place.

    torchvision sets the eps of the frozen norms to 0 when it loads the file of ``maskrcnn_resnet50_fpn``, and so in all
    that is fine-tuned from it. The weights take up the difference: ``running_var - 1e-5`` would be as exact for usual
    variances, but loses those of channels that are almost constant, 1e-12 for example.
    """
    frozen = [key.removesuffix("running_var") for key in state if key.endswith("running_var")]
    if any((state[f"{norm}running_var"] <= 0).any() for norm in frozen):
        return  # without an eps this would divide by 0, so its norms have one
    for norm in frozen:
        variance, weight = state[f"{norm}running_var"].double(), state[f"{norm}weight"]
        state[f"{norm}weight"] = (weight.double() * torch.sqrt((variance + _EPS) / variance)).to(weight.dtype)
