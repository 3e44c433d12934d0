"""mmdetection's Mask R-CNN, Cascade Mask R-CNN and Panoptic FPN, of version 2 and later, and of version 1 and GCNet."""

from __future__ import annotations

import re

from ...models.cascade import STAGES
from ..renaming import Rows, State, length
from .detector import ForeignDetector, backbone_name, class_rows, fold_stem, replaced, sizes

# What is computed otherwise than in torchvision.
_VERSION_2 = {"aligned": True, "sampling": 0, "rounded_anchors": False}
_VERSION_1 = {"anchor_offset": 0.5}
# Standard deviations of the box deltas in the last stage of a cascade, against 1 / (30, 30, 15, 15) in srzoo.
_LAST_STAGE = (0.033 * 30, 0.033 * 30, 0.067 * 15, 0.067 * 15)


def recognizes(state: State) -> bool:
    """Whether these are the names of one of mmdetection's detectors with two stages."""
    return any(key.startswith("neck.lateral_convs.") for key in state) and any(
        key.startswith("rpn_head.") for key in state
    )


def read(state: State, meta: dict) -> ForeignDetector:
    """Describe a state dict of mmdetection's.

    Args:
        state: the tensors.
        meta: the entry "meta" of the file, of which the names of the classes and the text of the configuration are
            used, if they are there.

    Raises:
        ValueError: an unknown backbone.
    """
    # With averaged weights a file has both: these, such as "ema_backbone_conv1_weight", are the ones before averaging.
    state = {key: value for key, value in state.items() if not key.startswith("ema_")}
    is_second = any(key.startswith("roi_head.") for key in state)
    head = "roi_head." if is_second else ""
    is_cascade = any(key.startswith(f"{head}bbox_head.0.") for key in state)
    is_panoptic = any(key.startswith("semantic_head.") for key in state) and not is_cascade
    network = "cascade_mask_rcnn" if is_cascade else "panoptic_fpn" if is_panoptic else "mask_rcnn"
    their_name = replaced(_table(head))
    things = max(1, length(state, f"{head}bbox_head.{'0.' if is_cascade else ''}fc_cls.bias", 81) - 1)
    stuff = max(1, length(state, "semantic_head.conv_logits.bias", 54) - 1) if is_panoptic else 0
    stages = STAGES if is_cascade else 1
    rows = class_rows(things, is_second, stages, stages)
    if is_panoptic:
        rows["semantic_head.classifier."] = Rows((stuff, *range(stuff)), stuff + 1)
    backbone = backbone_name(state, their_name)
    options = {**sizes(state, their_name, network), **(_VERSION_2 if is_second else _VERSION_1)}
    options["box_beta"] = 0.0 if is_second and not is_cascade else 1.0
    reads = _Input(meta, backbone)
    if reads.caffe:
        options["stride_in_1x1"] = True

    def finish(converted: State) -> None:
        fold_stem(converted, reads.reverse, reads.mean, reads.std)
        if is_cascade:
            for key in ("weight", "bias"):
                value = converted[f"roi_heads.box_predictor.{STAGES - 1}.bbox_pred.{key}"]
                value *= value.new_tensor(_LAST_STAGE).view(4, *(1,) * (value.dim() - 1))

    return ForeignDetector(
        project=f"mmdetection {'2' if is_second else '1'}",
        network=network,
        backbone=backbone,
        options=options,
        things=things,
        stuff=stuff,
        names=_names(meta, things + stuff),
        coco=True,
        state=state,
        their_name=their_name,
        rows=rows,
        finish=finish,
    )


class _Input:
    """How the images are normalized, by the configuration in the file, else as mmdetection does for the backbone.

    Attributes:
        caffe: the stride of a block is in its first convolution.
        reverse: the channels are BGR.
        mean, std: for values of 0 to 255, in that order.
    """

    def __init__(self, meta: dict, backbone: str):
        config = meta.get("config")
        config = config if isinstance(config, str) else ""
        self.caffe = bool(re.search(r"style\s*=\s*['\"]caffe['\"]", config))
        order = re.search(r"(?:to_rgb|bgr_to_rgb)\s*=\s*(True|False)", config)
        self.reverse = order[1] == "False" if order else self.caffe or backbone.endswith("32x8d")
        mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        if self.reverse:
            mean, std = mean[::-1], std[::-1]
        self.mean = _numbers(config, "mean") or mean
        self.std = _numbers(config, "std") or ((1.0, 1.0, 1.0) if self.caffe else std)


def _numbers(config: str, name: str) -> tuple[float, ...]:
    """The first list of three numbers of this name in the text of a configuration."""
    number = r"\s*(\d+\.?\d*)\s*"
    found = re.search(rf"\b{name}\s*=\s*[\[(]{number},{number},{number},?\s*[\])]", config)
    return tuple(map(float, found.groups())) if found else ()


def _names(meta: dict, count: int) -> tuple[str, ...] | None:
    """The names of the classes, of which version 3 has them in ``dataset_meta``."""
    of_data = meta.get("dataset_meta")
    names = meta.get("CLASSES") or (of_data.get("classes") if isinstance(of_data, dict) else None)
    if not isinstance(names, (tuple, list)) or len(names) != count or not all(isinstance(each, str) for each in names):
        return None
    return tuple(names)


def _table(head: str) -> tuple:
    """Patterns of srzoo's names, and mmdetection's.

    Args:
        head: prefix of the heads on regions: "roi_head.", or in version 1 none.
    """
    return (
        (r"backbone\.body\.", "backbone."),
        (r"backbone\.fpn\.inner_blocks\.(\d+)\.0\.", r"neck.lateral_convs.\1.conv."),
        (r"backbone\.fpn\.layer_blocks\.(\d+)\.0\.", r"neck.fpn_convs.\1.conv."),
        (r"rpn\.head\.conv\.0\.0\.", "rpn_head.rpn_conv."),
        (r"rpn\.head\.cls_logits\.", "rpn_head.rpn_cls."),
        (r"rpn\.head\.bbox_pred\.", "rpn_head.rpn_reg."),
        (r"roi_heads\.box_head\.(\d+\.)?fc6\.", rf"{head}bbox_head.\1shared_fcs.0."),
        (r"roi_heads\.box_head\.(\d+\.)?fc7\.", rf"{head}bbox_head.\1shared_fcs.1."),
        (r"roi_heads\.box_predictor\.(\d+\.)?cls_score\.", rf"{head}bbox_head.\1fc_cls."),
        (r"roi_heads\.box_predictor\.(\d+\.)?bbox_pred\.", rf"{head}bbox_head.\1fc_reg."),
        (r"roi_heads\.mask_head\.(\d+\.)?(\d+)\.0\.", rf"{head}mask_head.\1convs.\2.conv."),
        (r"roi_heads\.mask_predictor\.(\d+\.)?conv5_mask\.", rf"{head}mask_head.\1upsample."),
        (r"roi_heads\.mask_predictor\.(\d+\.)?mask_fcn_logits\.", rf"{head}mask_head.\1conv_logits."),
        (r"semantic_head\.levels\.(\d+)\.(\d+)\.0\.", r"semantic_head.conv_upsample_layers.\1.conv.\2.conv."),
        (r"semantic_head\.levels\.(\d+)\.(\d+)\.1\.", r"semantic_head.conv_upsample_layers.\1.conv.\2.gn."),
        (r"semantic_head\.classifier\.", "semantic_head.conv_logits."),
    )
