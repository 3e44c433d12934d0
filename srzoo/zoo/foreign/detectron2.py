"""detectron2's Mask R-CNN, Cascade Mask R-CNN and Panoptic FPN."""

from __future__ import annotations

from ...models.cascade import STAGES
from ..renaming import State, length
from .detector import ForeignDetector, backbone_name, class_rows, fold_stem, further_layers, replaced, sizes

_OPTIONS = {"aligned": True, "sampling": 0, "rounded_anchors": False, "box_beta": 0.0}
_CASCADE = {"mask_stages": 1, "average": "probabilities", "scale_gradient": True}
_MEAN = (103.53, 116.28, 123.675)  # BGR, as all of its models of COCO take images
_TABLE = (
    (r"backbone\.body\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"backbone\.body\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    (r"backbone\.body\.layer(\d+)\.(\d+)\.conv(\d)\.", lambda m: f"{_block(m)}.conv{m[3]}."),
    (r"backbone\.body\.layer(\d+)\.(\d+)\.bn(\d)\.", lambda m: f"{_block(m)}.conv{m[3]}.norm."),
    (r"backbone\.body\.layer(\d+)\.(\d+)\.downsample\.0\.", lambda m: f"{_block(m)}.shortcut."),
    (r"backbone\.body\.layer(\d+)\.(\d+)\.downsample\.1\.", lambda m: f"{_block(m)}.shortcut.norm."),
    (r"backbone\.fpn\.inner_blocks\.(\d+)\.0\.", lambda m: f"backbone.fpn_lateral{int(m[1]) + 2}."),
    (r"backbone\.fpn\.layer_blocks\.(\d+)\.0\.", lambda m: f"backbone.fpn_output{int(m[1]) + 2}."),
    (r"rpn\.head\.conv\.0\.0\.", "proposal_generator.rpn_head.conv."),
    (r"rpn\.head\.cls_logits\.", "proposal_generator.rpn_head.objectness_logits."),
    (r"rpn\.head\.bbox_pred\.", "proposal_generator.rpn_head.anchor_deltas."),
    (r"roi_heads\.box_head\.(\d+\.)?fc6\.", r"roi_heads.box_head.\1fc1."),
    (r"roi_heads\.box_head\.(\d+\.)?fc7\.", r"roi_heads.box_head.\1fc2."),
    # A cascade has one mask head too, without a number.
    (r"roi_heads\.mask_head\.(?:0\.)?(\d+)\.0\.", lambda m: f"roi_heads.mask_head.mask_fcn{int(m[1]) + 1}."),
    (r"roi_heads\.mask_predictor\.(?:0\.)?conv5_mask\.", "roi_heads.mask_head.deconv."),
    (r"roi_heads\.mask_predictor\.(?:0\.)?mask_fcn_logits\.", "roi_heads.mask_head.predictor."),
    # Behind each convolution, an upsampling counts as a layer.
    (r"semantic_head\.levels\.(\d+)\.(\d+)\.0\.", lambda m: f"{_level(m)}."),
    (r"semantic_head\.levels\.(\d+)\.(\d+)\.1\.", lambda m: f"{_level(m)}.norm."),
    (r"semantic_head\.classifier\.", "sem_seg_head.predictor."),
)


# Of its files trained by large-scale jitter: norms in the pyramid and heads, and further convolutions.
_FURTHER = (
    (r"backbone\.fpn\.inner_blocks\.(\d+)\.1\.", lambda m: f"backbone.fpn_lateral{int(m[1]) + 2}.norm."),
    (r"backbone\.fpn\.layer_blocks\.(\d+)\.1\.", lambda m: f"backbone.fpn_output{int(m[1]) + 2}.norm."),
    (r"rpn\.head\.conv\.(\d+)\.0\.", r"proposal_generator.rpn_head.conv.conv\1."),
    (r"roi_heads\.box_head\.(\d+)\.0\.", lambda m: f"roi_heads.box_head.conv{int(m[1]) + 1}."),
    (r"roi_heads\.box_head\.(\d+)\.1\.", lambda m: f"roi_heads.box_head.conv{int(m[1]) + 1}.norm."),
    (r"roi_heads\.box_head\.\d+\.(weight|bias)", r"roi_heads.box_head.fc1.\1"),
    (r"roi_heads\.mask_head\.(\d+)\.1\.", lambda m: f"roi_heads.mask_head.mask_fcn{int(m[1]) + 1}.norm."),
)


def _block(m) -> str:
    return f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}"


def _level(m) -> str:
    return f"sem_seg_head.p{int(m[1]) + 2}.{2 * int(m[2])}"


def recognizes(state: State) -> bool:
    """Whether these are the names of one of detectron2's networks with a feature pyramid."""
    return any(key.startswith("backbone.bottom_up.") for key in state)


def read(state: State) -> ForeignDetector:
    """Describe a state dict of detectron2's.

    The statistics of its input are ``pixel_mean`` and ``pixel_std``. Without them, they are those of detectron2's own
    models: BGR, and for a ResNet no division by the standard deviation.

    Raises:
        ValueError: an unknown backbone.
    """
    is_cascade = any(key.startswith("roi_heads.box_head.0.") for key in state)
    is_panoptic = any(key.startswith("sem_seg_head.") for key in state) and not is_cascade
    network = "cascade_mask_rcnn" if is_cascade else "panoptic_fpn" if is_panoptic else "mask_rcnn"
    has_further = "proposal_generator.rpn_head.conv.conv0.weight" in state
    their_name = replaced((*_FURTHER, *_TABLE) if has_further else _TABLE)
    backbone = backbone_name(state, their_name)
    mean = _statistics(state, "pixel_mean", _MEAN)
    std = _statistics(state, "pixel_std", (1.0,) * 3 if backbone.startswith("resnet") else (57.375, 57.12, 58.395))
    further = further_layers(state, their_name) if has_further else {}
    options = {**sizes(state, their_name, network), **further, **_OPTIONS, **(_CASCADE if is_cascade else {})}
    if max(std) == 1 and backbone in ("resnet50", "resnet101", "resnet152"):
        options["stride_in_1x1"] = True  # as in MSRA's ResNets, whose input is not divided
    things = max(1, length(state, f"roi_heads.box_predictor.{'0.' if is_cascade else ''}cls_score.bias", 81) - 1)
    derived = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors.")

    def finish(converted: State) -> None:
        fold_stem(converted, mean[0] < mean[-1], mean, std)

    return ForeignDetector(
        project="detectron2",
        network=network,
        backbone=backbone,
        options=options,
        things=things,
        stuff=max(1, length(state, "sem_seg_head.predictor.bias", 54) - 1) if is_panoptic else 0,
        names=None,
        coco=True,
        state={key: value for key, value in state.items() if not key.startswith(derived)},
        their_name=their_name,
        rows=class_rows(things, True, STAGES if is_cascade else 1),
        finish=finish,
    )


def _statistics(state: State, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(state[key].flatten().tolist()) if key in state and state[key].numel() == 3 else default
