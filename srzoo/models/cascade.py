"""Cascade Mask R-CNN (Cai and Vasconcelos, 2018): three stages of boxes, each trained at a higher overlap."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import clip_boxes_to_image

from ..layers.checks import check_flag
from .mask_predictor import MaskPredictor
from .mask_rcnn import MaskRCNN
from .region_heads import BOX_CELLS, BOX_WEIGHTS, MASK_CELLS, Detections, RegionHeads, Sizes, box_losses, decoded

STAGES = 3
_OVERLAPS = (0.5, 0.6, 0.7)  # IoU from which a region is positive
_SHARES = (1.0, 0.5, 0.25)  # weights of the stages' losses


class _Stages(nn.ModuleList):
    """One module for each stage."""


class CascadeHeads(RegionHeads):
    """The heads of Cascade Mask R-CNN; boxes are the same for every class.

    Each stage refines the boxes of the one before it. In evaluation no region is dropped between the stages, so the
    scores of all three are averaged over the same regions.

    Args:
        strides, channels, num_classes, **options: as for `RegionHeads`.
        mask_stages: mask heads: 3, whose probabilities are averaged, as in mmdetection, or 1, as in detectron2.
        average: what is averaged over the stages: "logits", as in mmdetection, or "probabilities", as in detectron2.
        scale_gradient: scale the gradient of each stage into the shared features by a third, as detectron2 does.

    Raises:
        ValueError: ``mask_stages`` is neither 1 nor 3, or ``average`` is unknown.
    """

    def __init__(
        self,
        strides: list[int],
        channels: int,
        num_classes: int,
        mask_stages: int = STAGES,
        average: str = "logits",
        scale_gradient: bool = False,
        **options,
    ):
        if mask_stages not in (1, STAGES):
            raise ValueError(f"mask_stages must be 1 or {STAGES}, got {mask_stages!r}")
        if average not in ("logits", "probabilities"):
            raise ValueError(f"average must be 'logits' or 'probabilities', got {average!r}")
        check_flag(scale_gradient=scale_gradient)
        self.mask_stages = mask_stages  # before the parts are built
        super().__init__(strides, channels, num_classes, **options)
        self.average, self.scale_gradient = average, scale_gradient
        self.coders = [BoxCoder(tuple(weight * (1 + stage) for weight in BOX_WEIGHTS)) for stage in range(STAGES)]
        self.matchers = [Matcher(overlap, overlap, allow_low_quality_matches=False) for overlap in _OVERLAPS]

    def _box_head(self, *arguments) -> nn.Module:
        return _Stages(RegionHeads._box_head(self, *arguments) for _ in range(STAGES))

    def _box_predictor(self, width: int, outputs: int) -> nn.Module:
        return _Stages(_AgnosticPredictor(width, outputs) for _ in range(STAGES))

    def _mask_head(self, *arguments) -> nn.Module:
        return _Stages(RegionHeads._mask_head(self, *arguments) for _ in range(self.mask_stages))

    def _mask_predictor(self, channels: int, outputs: int) -> nn.Module:
        return _Stages(MaskPredictor(channels, channels, outputs) for _ in range(self.mask_stages))

    def stage(
        self, number: int, features: list[torch.Tensor], boxes: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(R, outputs)`` and box deltas ``(R, 4)`` of one stage, in float32."""

        def head(pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if self.scale_gradient and self.training:
                pooled = _ScaledGradient.apply(pooled, 1 / STAGES)
            return self.box_predictor[number](self.box_head[number](pooled))

        return self.outputs_of_regions(features, boxes, head)

    def refined(
        self, number: int, deltas: torch.Tensor, boxes: list[torch.Tensor], image_sizes: Sizes
    ) -> list[torch.Tensor]:
        """The boxes after a stage, clipped to their images, without a gradient."""
        moved = decoded(self.coders[number], deltas.detach(), boxes)[:, 0].split([len(each) for each in boxes])
        return [clip_boxes_to_image(each, size) for each, size in zip(moved, image_sizes)]

    def losses(
        self, features: list[torch.Tensor], proposals: list[torch.Tensor], targets: list[dict], image_sizes: Sizes
    ) -> dict[str, torch.Tensor]:
        losses = dict.fromkeys(("class", "box", "mask"), 0.0)
        for number, share in enumerate(_SHARES):
            # The stage's own overlap and scale of deltas, which the sampling of the parent class reads.
            self.proposal_matcher, self.box_coder = self.matchers[number], self.coders[number]
            boxes, matched, labels, wanted = self.select_training_samples(list(proposals), targets)
            logits, deltas = self.stage(number, features, boxes)
            own = box_losses(logits, deltas, torch.cat(labels), torch.cat(wanted), self.box_beta)
            if number < self.mask_stages:
                own["mask"] = self.mask_loss(features, boxes, matched, labels, targets, number)
            losses = {name: losses[name] + share * own.get(name, 0.0) for name in losses}
            if number < STAGES - 1:
                refined = self.refined(number, deltas, boxes, image_sizes)
                proposals = [_without(each, old, target["boxes"]) for each, old, target in zip(refined, boxes, targets)]
        return losses

    def detect(
        self,
        features: list[torch.Tensor],
        proposals: list[torch.Tensor],
        image_sizes: Sizes,
        score: float | None = None,
        count: int | None = None,
    ) -> list[Detections]:
        boxes, total = proposals, 0.0
        for number in range(STAGES):
            logits, deltas = self.stage(number, features, boxes)
            total = total + (logits if self.average == "logits" else logits.softmax(1)) / STAGES
            boxes = self.refined(number, deltas, boxes, image_sizes)
        scores = total.softmax(1) if self.average == "logits" else total
        parts = zip(scores.split([len(each) for each in boxes]), boxes, image_sizes)
        return [self.select(scores, each[:, None], size, score, count) for scores, each, size in parts]

    def mask_logits(self, pooled: torch.Tensor, number: int) -> torch.Tensor:
        return self.mask_predictor[number](self.mask_head[number](pooled))

    def fixed_work(self, features: list[torch.Tensor], regions: int, masks: int) -> None:
        like, channels = features[0], features[0].shape[1]
        for head, predictor in zip(self.box_head, self.box_predictor):
            predictor(head(like.new_empty(regions, channels, BOX_CELLS, BOX_CELLS)))
        for number in range(self.mask_stages):
            self.mask_logits(like.new_empty(masks, channels, MASK_CELLS, MASK_CELLS), number)


class _AgnosticPredictor(FastRCNNPredictor):
    """torchvision's predictor with one box for all classes."""

    def __init__(self, width: int, outputs: int):
        super().__init__(width, outputs)
        self.bbox_pred = nn.Linear(width, 4)


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(context, x: torch.Tensor, factor: float) -> torch.Tensor:
        context.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * context.factor, None


def _without(refined: torch.Tensor, boxes: torch.Tensor, annotated: torch.Tensor) -> torch.Tensor:
    """The refined boxes without those of annotated boxes, which are added to the proposals of every stage.

    Args:
        refined, boxes: ``(R, 4)`` after and before the refinement.
        annotated: ``(n, 4)``.
    """
    is_annotated = (boxes[:, None] == annotated[None]).all(2).any(1)
    sides = refined[:, 2:] - refined[:, :2]
    return refined[~is_annotated & (sides > 0).all(1)]


class CascadeMaskRCNN(MaskRCNN):
    """Cascade Mask R-CNN with a feature pyramid.

    Args:
        backbone, num_classes, context: as for `MaskRCNN`.
        mask_stages, average, scale_gradient: as for `CascadeHeads`.
        **options: of `MaskRCNN`.

    Shape, raises: as for `MaskRCNN`.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        context: str = "none",
        mask_stages: int = STAGES,
        average: str = "logits",
        scale_gradient: bool = False,
        **options,
    ):
        self._cascade = {"mask_stages": mask_stages, "average": average, "scale_gradient": scale_gradient}
        super().__init__(backbone, num_classes, context, **options)

    def _heads(self, strides: list[int], channels: int, num_classes: int, **options) -> CascadeHeads:
        return CascadeHeads(strides, channels, num_classes, **self._cascade, **options)
