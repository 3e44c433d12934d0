"""Panoptic FPN (Kirillov et al., 2019): Mask R-CNN, and a semantic head on the same pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels import upsample_cross_entropy

from ..labels import IGNORE, LabelSet
from ..layers.checks import check_whole
from .base import take_rows
from .mask_rcnn import MaskRCNN
from .region_heads import Detections, Sizes
from .targets import described

_GROUPS = 32  # of a GroupNorm


class SemanticHead(nn.Module):
    """Adds up all levels of a pyramid at the stride of the finest, and classifies each pixel.

    A level that is ``i`` octaves coarser passes ``max(i, 1)`` times a 3x3 convolution, GroupNorm and ReLU; if ``i > 0``
    each is followed by bilinear upsampling by 2.

    Args:
        levels: number of levels.
        in_channels: of each level.
        channels: of each convolution.
        outputs: of the classifier.

    Shape:
        Levels ``(N, in_channels, H / 2^i, W / 2^i)`` to ``(N, outputs, H, W)`` logits.
    """

    def __init__(self, levels: int, in_channels: int, channels: int, outputs: int):
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(*(_conv_gn_relu(in_channels if j == 0 else channels, channels) for j in range(max(level, 1))))
            for level in range(levels)
        )
        self.classifier = nn.Conv2d(channels, outputs, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        self._start_small()

    def _start_small(self) -> None:
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def replace_classifier(self, outputs: int) -> None:
        """Replace the classifier by a new one with other outputs."""
        self.classifier = nn.Conv2d(self.classifier.in_channels, outputs, 1).to(self.classifier.weight)
        self._start_small()

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        total = None
        for i, (feature, convs) in enumerate(zip(features, self.levels, strict=True)):
            for conv in convs:
                feature = conv(feature)
                if i:
                    feature = F.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=False)
            total = feature if total is None else total + feature
        return self.classifier(total)


def _check_things(things: tuple[bool, ...] | None, num_classes: int) -> None:
    if things is None or len(things) != num_classes or not 0 < sum(things) < num_classes:
        found = "none" if things is None else f"{sum(things)} things of {len(things)}"
        raise ValueError(
            f"a panoptic model needs to know which of its {num_classes} classes are things and which are stuff, "
            f"with at least one of each, got {found}; pass things=(True, ..., False), or labels that say so"
        )


def _conv_gn_relu(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(math.gcd(_GROUPS, channels), channels),
        nn.ReLU(inplace=True),
    )


class PanopticFPN(MaskRCNN):
    """Panoptic FPN: instances of things by Mask R-CNN, and stuff by a semantic head.

    Args:
        backbone, num_classes, context: as for `MaskRCNN`; ``num_classes`` counts things and stuff.
        things: of each class, whether it is of countable objects.
        semantic_channels: width of the semantic head.
        **options: of `MaskRCNN`.

    Attributes:
        thing_ids, stuff_ids: class ids of the things, in order of the instance head's classes, and of the stuff, in
            order of the semantic head's outputs from 1 on. Its output 0 is for all things.

    Shape, raises: as for `MaskRCNN`; and ValueError if ``things`` does not name things and stuff.
    """

    task = "panoptic"

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        things: tuple[bool, ...],
        context: str = "none",
        semantic_channels: int = 128,
        **options,
    ):
        check_whole(num_classes=num_classes, semantic_channels=semantic_channels)
        _check_things(things, num_classes)
        super().__init__(backbone, sum(things), context, **options)
        self._set_things(things)
        channels = self.rpn.head.cls_logits.in_channels
        levels = len(self.backbone.level_names)
        self.semantic_head = SemanticHead(levels, channels, semantic_channels, 1 + len(self.stuff_ids))

    def forward(
        self,
        x: torch.Tensor,
        image_sizes: Sizes | None = None,
        targets: list[dict] | None = None,
        score: float | None = None,
        count: int | None = None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        """The losses by name in training, else the results of each image.

        Args:
            x, image_sizes, score, count: as for `MaskRCNN`.
            targets: as for `MaskRCNN`, with class ids of things as labels; and ``semantic`` ``(h, w)``, integer class
                ids of all pixels of the image without its padding, 255 for void.

        Returns:
            As `MaskRCNN`; in training with the loss "semantic", in evaluation with ``semantic`` ``(1 + stuff, h, w)``
            logits at the finest level's stride, which cover ``x``, in the dtype of the model.

        Raises:
            ValueError: as for `MaskRCNN`; or a label is no thing, or the semantic target does not fit.
            RuntimeError: as for `MaskRCNN`.
        """
        x, image_sizes, targets = self._checked(x, image_sizes, targets)
        levels = self.backbone(x)
        logits = self.semantic_head([levels[name] for name in self.backbone.level_names])
        found = self._regions(x, levels, image_sizes, self._instance_targets(targets), score, count)
        if self.training:
            wanted = self.semantic_target(targets, image_sizes, tuple(x.shape[-2:]))
            return {**found, "semantic": upsample_cross_entropy(logits.float(), wanted, IGNORE)}
        class_ids = torch.tensor(self.thing_ids, device=x.device)
        return [{**each, "labels": class_ids[each["labels"]], "semantic": own} for each, own in zip(found, logits)]

    def _check_labels(self, labels: LabelSet) -> None:
        own = self.config.labels.things
        if labels.things != own:
            raise ValueError(
                f"the labels have things={labels.things}, but this model's heads are built for {own}; "
                "reset_classifier(labels=...) replaces them"
            )

    def _set_things(self, things: tuple[bool, ...]) -> None:
        self.thing_ids = tuple(i for i, thing in enumerate(things) if thing)
        self.stuff_ids = tuple(i for i, thing in enumerate(things) if not thing)
        self.num_classes = len(things)

    def _replace_classifiers(self, labels: LabelSet) -> None:
        _check_things(labels.things, len(labels.classes))
        self._set_things(labels.things)
        self.roi_heads.replace_classifiers(len(self.thing_ids))
        self.semantic_head.replace_classifier(1 + len(self.stuff_ids))

    def _reorder_classifiers(self, order: Sequence[int], labels: LabelSet) -> None:
        own = self.config.labels.reordered(order).things
        if labels.things != own:
            raise ValueError(f"the labels have things={labels.things}, but in this model the same classes have {own}")
        self.roi_heads.reorder_classifiers([self.thing_ids.index(i) for i in order if i in self.thing_ids])
        stuff = [self.stuff_ids.index(i) for i in order if i in self.stuff_ids]
        take_rows(self.semantic_head.classifier, [0, *(1 + i for i in stuff)])
        self._set_things(labels.things)

    def _instance_targets(self, targets: list[dict] | None) -> list[dict] | None:
        """Targets with labels of the instance head, which are 1 and more for things."""
        if targets is None:
            return None
        index = torch.full((self.num_classes,), -1)
        index[list(self.thing_ids)] = torch.arange(len(self.thing_ids))
        result = []
        for i, target in enumerate(targets):
            labels = index.to(target["labels"].device)[target["labels"] - 1]
            if (labels < 0).any():
                at = int((labels < 0).nonzero()[0])
                raise ValueError(
                    f"targets[{i}]: object {at} has label {int(target['labels'][at]) - 1}, which is stuff; only things "
                    "have boxes"
                )
            result.append({**target, "labels": labels + 1})
        return result

    def semantic_target(self, targets: list[dict], image_sizes: Sizes, size: tuple[int, int]) -> torch.Tensor:
        """``(N, H, W)`` int64 outputs of the semantic head for targets' class ids, 255 for void and the padding.

        Args:
            targets, image_sizes: as for `forward`.
            size: ``(H, W)`` of the batch in pixels.

        Raises:
            ValueError: a target is missing, of another size than its image, or has a value that is no class.
        """
        table = torch.full((IGNORE + 1,), -1)
        table[IGNORE] = IGNORE
        table[: self.num_classes] = 0
        table[list(self.stuff_ids)] = 1 + torch.arange(len(self.stuff_ids))
        batch = []
        for i, (target, own) in enumerate(zip(targets, image_sizes, strict=True)):
            ids = target.get("semantic")
            if not isinstance(ids, torch.Tensor) or ids.is_floating_point() or tuple(ids.shape) != tuple(own):
                found = f"{described(ids)} and {ids.dtype}" if isinstance(ids, torch.Tensor) else described(ids)
                raise ValueError(
                    f"targets[{i}] has a semantic target of {found}, expected integers of {tuple(own)}, class ids"
                )
            wanted = table.to(ids.device)[ids.long().clamp(-1, IGNORE)]
            wrong = (wanted < 0) | (ids < 0) | (ids > IGNORE)
            if wrong.any():
                raise ValueError(
                    f"targets[{i}]: its semantic target has the value {int(ids[wrong][0])}, expected class ids from 0 "
                    f"to {self.num_classes - 1}, or {IGNORE} for void; run `srzoo data check` on the dataset"
                )
            batch.append(F.pad(wanted, (0, size[1] - ids.shape[1], 0, size[0] - ids.shape[0]), value=IGNORE))
        return torch.stack(batch)

    def fixed_work(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        levels = super().fixed_work(x)
        self.semantic_head([levels[name] for name in self.backbone.level_names])
        return levels
