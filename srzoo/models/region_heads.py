"""The heads of Mask R-CNN on regions: classes, boxes and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from ..layers.roi_align import PyramidRoIAlign
from .base import check_results, take_rows
from .crowds import without_crowds
from .mask_predictor import MaskPredictor
from .mask_targets import mask_targets

Detections = dict[str, torch.Tensor]
Sizes = list[tuple[int, int]]

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
BOX_CELLS, MASK_CELLS = 7, 14
_PART = 256  # regions at a time: of 256 channels, 7x7 floats of a thousand regions take 48 MiB, in each of their copies
_MASK_PART = 64
_POSITIVE = 0.25  # share of the sampled regions that are objects, at most


class RegionHeads(RoIHeads):
    """torchvision's ``RoIHeads``, with what it lacks; the tensors have its names.

    Classes, boxes and scores are float32 in any precision. The mask head runs on the detections that are kept only, and
    its masks are not pasted. Targets hold the masks as `srzoo.data.mask_windows.MaskWindows`.

    Args:
        strides: of the pyramid's levels, without "pool".
        channels: of the levels.
        num_classes: without the background, which has index 0 inside the heads.
        box_channels: width of the fully connected layers of the box head.
        box_layers: output channels of 3x3 convolutions in the box head, before a single fully connected layer; none for
            two fully connected layers alone.
        mask_layers: output channels of the mask head's 3x3 convolutions.
        norm: a BatchNorm behind each convolution of the box head and the mask head, instead of a bias.
        sampling, aligned: of RoIAlign, see `PyramidRoIAlign`.
        box_beta: where the box loss turns from squared to linear; 1/9 in torchvision, 1 in mmdetection 1.

    Attributes:
        mask_stages: number of mask heads.
    """

    mask_stages = 1

    def __init__(
        self,
        strides: list[int],
        channels: int,
        num_classes: int,
        box_channels: int = 1024,
        box_layers: tuple[int, ...] = (),
        mask_layers: tuple[int, ...] = (256, 256, 256, 256),
        norm: bool = False,
        sampling: int = 2,
        aligned: bool = False,
        box_beta: float = 1 / 9,
    ):
        outputs = num_classes + 1
        super().__init__(
            box_roi_pool=PyramidRoIAlign(strides, BOX_CELLS, sampling, aligned),
            box_head=self._box_head(channels, box_layers, box_channels, norm),
            box_predictor=self._box_predictor(box_channels, outputs),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=512,
            positive_fraction=_POSITIVE,
            bbox_reg_weights=BOX_WEIGHTS,
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
            mask_roi_pool=PyramidRoIAlign(strides, MASK_CELLS, sampling, aligned),
            mask_head=self._mask_head(channels, mask_layers, norm),
            mask_predictor=self._mask_predictor(mask_layers[-1] if mask_layers else channels, outputs),
        )
        self.box_beta = box_beta
        for part in self.modules():
            if isinstance(part, FastRCNNPredictor):
                _start_small(part.cls_score, 0.01)
                _start_small(part.bbox_pred, 0.001)
            elif isinstance(part, MaskPredictor):
                _start_small(part.mask_fcn_logits, 0.001)

    def sample_regions(self, count: int) -> None:
        """Train on this many regions of each image, a quarter of them objects, at most."""
        self.fg_bg_sampler = BalancedPositiveNegativeSampler(count, _POSITIVE)

    def replace_classifiers(self, num_classes: int) -> None:
        """Replace the layers whose outputs are per class by new ones for ``num_classes`` without the background."""
        outputs, like = num_classes + 1, next(self.parameters())
        for part in [*self.modules()]:
            if isinstance(part, FastRCNNPredictor):
                is_by_class = part.bbox_pred.out_features != 4
                part.cls_score = _start_small(nn.Linear(part.cls_score.in_features, outputs), 0.01).to(like)
                if is_by_class:
                    part.bbox_pred = _start_small(nn.Linear(part.bbox_pred.in_features, 4 * outputs), 0.001).to(like)
            elif isinstance(part, MaskPredictor):
                layer = nn.Conv2d(part.mask_fcn_logits.in_channels, outputs, 1)
                part.mask_fcn_logits = _start_small(layer, 0.001).to(like)

    def reorder_classifiers(self, order: Sequence[int]) -> None:
        """Reorder the outputs per class; ``order`` has the present class of each, from 0 without the background."""
        rows = [0, *(1 + i for i in order)]
        for part in self.modules():
            if isinstance(part, FastRCNNPredictor):
                take_rows(part.cls_score, rows)
                if part.bbox_pred.out_features != 4:
                    take_rows(part.bbox_pred, [4 * row + side for row in rows for side in range(4)])
            elif isinstance(part, MaskPredictor):
                take_rows(part.mask_fcn_logits, rows)

    def _box_head(self, channels: int, layers: tuple[int, ...], width: int, norm: bool) -> nn.Module:
        if not layers:
            return TwoMLPHead(channels * BOX_CELLS**2, width)
        pooled = channels, BOX_CELLS, BOX_CELLS
        return FastRCNNConvFCHead(pooled, list(layers), [width], nn.BatchNorm2d if norm else None)

    def _box_predictor(self, width: int, outputs: int) -> nn.Module:
        return FastRCNNPredictor(width, outputs)

    def _mask_head(self, channels: int, layers: tuple[int, ...], norm: bool) -> nn.Module:
        return MaskRCNNHeads(channels, layers, 1, nn.BatchNorm2d if norm else None)

    def _mask_predictor(self, channels: int, outputs: int) -> nn.Module:
        return MaskPredictor(channels, channels, outputs)

    def forward(
        self,
        features: list[torch.Tensor],
        proposals: list[torch.Tensor],
        image_sizes: Sizes,
        targets: list[dict] | None = None,
        score: float | None = None,
        count: int | None = None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        """The losses by name in training, else the detections of each image.

        Args:
            features: the levels of the pyramid, without "pool".
            proposals: ``(R_i, 4)`` boxes of each image.
            image_sizes: ``(H, W)`` of each image without its padding, in pixels.
            targets: for training, of each image ``boxes``, ``labels`` from 1 on, and ``masks``.
            score: least score of a detection; default ``score_thresh``.
            count: number of detections in an image at most; default ``detections_per_img``.

        Returns:
            In evaluation ``boxes`` ``(n, 4)``, ``scores`` ``(n,)``, ``labels`` ``(n,)`` from 1 on and ``masks``
            ``(n, 28, 28)``, probabilities within the boxes; the highest score first.
        """
        if self.training:
            return self.losses(features, proposals, targets, image_sizes)
        check_results(
            **{f"features {i}": level for i, level in enumerate(features)}
        )  # without them there are no regions
        detections = self.detect(features, proposals, image_sizes, score, count)
        self.add_masks(features, detections)
        return detections

    def select_training_samples(self, proposals: list[torch.Tensor], targets: list[dict]):
        """torchvision's sampling, without background regions in a crowd."""
        self._crowds = [target.get("crowds") for target in targets]
        return super().select_training_samples(proposals, targets)

    def assign_targets_to_proposals(self, proposals, gt_boxes, gt_labels):
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        return matched, [without_crowds(*each) for each in zip(labels, proposals, self._crowds)]

    def losses(
        self, features: list[torch.Tensor], proposals: list[torch.Tensor], targets: list[dict], image_sizes: Sizes
    ) -> dict[str, torch.Tensor]:
        """The losses by name; arguments are those of ``forward``."""
        proposals, matched, labels, wanted = self.select_training_samples(proposals, targets)
        logits, deltas = self.classify(features, proposals)
        losses = box_losses(logits, deltas, torch.cat(labels), torch.cat(wanted), self.box_beta)
        losses["mask"] = self.mask_loss(features, proposals, matched, labels, targets)
        return losses

    def mask_loss(
        self,
        features: list[torch.Tensor],
        boxes: list[torch.Tensor],
        matched: list[torch.Tensor],
        labels: list[torch.Tensor],
        targets: list[dict],
        number: int = 0,
    ) -> torch.Tensor:
        """The loss of a mask head on the positive regions of a training step."""
        positive = [torch.where(each > 0)[0] for each in labels]
        boxes = [each[chosen] for each, chosen in zip(boxes, positive)]
        matched = [each[chosen] for each, chosen in zip(matched, positive)]
        if not any(map(len, boxes)):  # compiled convolutions fail on no region
            # The parameters stay in the graph, for processes that share gradients.
            parts = [*self.mask_head.parameters(), *self.mask_predictor.parameters()]
            return sum((0 * each.sum() for each in parts), features[0].new_zeros(()))
        logits = self.mask_logits(self.mask_roi_pool(features, boxes), number)
        return mask_loss(logits, boxes, matched, targets, self.mask_roi_pool.aligned)

    def classify(
        self, features: list[torch.Tensor], proposals: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(R, outputs)`` and box deltas ``(R, 4 outputs)`` of regions, in float32."""
        return self.outputs_of_regions(features, proposals, lambda pooled: self.box_predictor(self.box_head(pooled)))

    def outputs_of_regions(
        self,
        features: list[torch.Tensor],
        boxes: list[torch.Tensor],
        head: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``head`` makes of the pooled features of regions, in float32; in evaluation on a CPU some at a time."""
        outputs = [head(self.box_roi_pool(features, part)) for part in self._parts(boxes, _PART)]
        logits, deltas = (each[0] if len(each) == 1 else torch.cat(each) for each in zip(*outputs))
        return logits.float(), deltas.float()

    def _parts(self, boxes: list[torch.Tensor], most: int) -> Iterator[list[torch.Tensor]]:
        """The boxes of each image in the same order, in parts of at most this many where their features take memory."""
        if self.training or boxes[0].device.type != "cpu" or torch.compiler.is_compiling():
            yield boxes
            return
        ends = list(accumulate(map(len, boxes)))
        for start in range(0, max(1, ends[-1]), most):  # without regions there is a part without regions
            starts = [start - (end - len(own)) for own, end in zip(boxes, ends)]
            yield [own[max(0, first) : max(0, first + most)] for own, first in zip(boxes, starts)]

    def detect(
        self,
        features: list[torch.Tensor],
        proposals: list[torch.Tensor],
        image_sizes: Sizes,
        score: float | None = None,
        count: int | None = None,
    ) -> list[Detections]:
        """Detections without masks; arguments are those of ``forward``."""
        logits, deltas = self.classify(features, proposals)
        boxes = decoded(self.box_coder, deltas, proposals)
        counts = [len(each) for each in proposals]
        parts = zip(logits.softmax(1).split(counts), boxes.split(counts), image_sizes)
        return [self.select(scores, boxes, size, score, count) for scores, boxes, size in parts]

    def select(
        self,
        scores: torch.Tensor,
        boxes: torch.Tensor,
        size: tuple[int, int],
        score: float | None = None,
        count: int | None = None,
    ) -> Detections:
        """The detections in one image: above the score threshold, without duplicates, the best of them.

        Args:
            scores: ``(R, outputs)`` probabilities.
            boxes: ``(R, outputs, 4)``, or ``(R, 1, 4)`` for boxes that are the same for every class.
            size: ``(H, W)`` of the image in pixels.
            score, count: as for ``forward``.
        """
        check_results(scores=scores, boxes=boxes)
        scores = scores[:, 1:]
        region, label = torch.where(scores > self.score_thresh if score is None else scores >= score)
        scores = scores[region, label]
        label = label + 1
        boxes = clip_boxes_to_image(boxes[region, label if boxes.shape[1] > 1 else 0], size)
        kept = remove_small_boxes(boxes, 1e-2)
        boxes, scores, label = boxes[kept], scores[kept], label[kept]
        kept = batched_nms(boxes, scores, label, self.nms_thresh)[: self.detections_per_img if count is None else count]
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": label[kept]}

    def mask_logits(self, pooled: torch.Tensor, number: int) -> torch.Tensor:
        """``(R, outputs, 28, 28)`` logits of a mask head for pooled features ``(R, channels, 14, 14)``."""
        return self.mask_predictor(self.mask_head(pooled))

    def add_masks(self, features: list[torch.Tensor], detections: list[Detections]) -> None:
        """Add ``masks`` to detections, in place: the mean probabilities of the mask heads."""
        labels = torch.cat([found["labels"] for found in detections])
        masks = [features[0].new_zeros((0, 2 * MASK_CELLS, 2 * MASK_CELLS), dtype=torch.float32)]
        boxes = [found["boxes"] for found in detections]
        for part in self._parts(boxes, _MASK_PART) if len(labels) else ():
            pooled = self.mask_roi_pool(features, part)
            start = sum(map(len, masks))
            own = torch.arange(len(pooled), device=labels.device), labels[start : start + len(pooled)]
            heads = [self.mask_logits(pooled, number)[own].float().sigmoid() for number in range(self.mask_stages)]
            masks.append(sum(heads) / len(heads))
        masks = torch.cat(masks)
        for found, part in zip(detections, masks.split([len(found["labels"]) for found in detections])):
            found["masks"] = part

    def fixed_work(self, features: list[torch.Tensor], regions: int, masks: int) -> None:
        """Run the heads on this many regions, for counting their multiply-adds."""
        like, channels = features[0], features[0].shape[1]
        self.box_predictor(self.box_head(like.new_empty(regions, channels, BOX_CELLS, BOX_CELLS)))
        self.mask_logits(like.new_empty(masks, channels, MASK_CELLS, MASK_CELLS), 0)


def _start_small(layer: nn.Linear | nn.Conv2d, std: float) -> nn.Linear | nn.Conv2d:
    """Initialize a layer near zero, as detectron2 does; torchvision's large weights make the first losses huge."""
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


def decoded(coder: BoxCoder, deltas: torch.Tensor, boxes: list[torch.Tensor]) -> torch.Tensor:
    """``(R, K, 4)`` boxes after applying deltas ``(R, 4 K)``; torchvision's has another shape if ``R`` is 0."""
    return coder.decode(deltas, boxes).reshape(len(deltas), deltas.shape[1] // 4, 4)


def box_losses(
    logits: torch.Tensor, deltas: torch.Tensor, labels: torch.Tensor, wanted: torch.Tensor, beta: float
) -> dict[str, torch.Tensor]:
    """Cross-entropy of the classes, and smooth L1 of the boxes of positive regions over the number of all regions.

    Args:
        logits: ``(R, outputs)``.
        deltas: ``(R, 4 outputs)``, or ``(R, 4)`` for boxes that are the same for every class.
        labels: ``(R,)`` int64, 0 for background.
        wanted: ``(R, 4)`` deltas.
        beta: of the smooth L1 loss.
    """
    positive = torch.where(labels > 0)[0]
    deltas = deltas.unflatten(1, (-1, 4))
    chosen = deltas[positive, labels[positive] if deltas.shape[1] > 1 else 0]
    box = F.smooth_l1_loss(chosen, wanted[positive], beta=beta, reduction="sum") / max(1, len(labels))
    # The mean over no region is NaN.
    return {"class": F.cross_entropy(logits, labels) if len(labels) else logits.sum(), "box": box}


def mask_loss(
    logits: torch.Tensor, boxes: list[torch.Tensor], matched: list[torch.Tensor], targets: list[dict], aligned: bool
) -> torch.Tensor:
    """Binary cross-entropy of the mask of each region's own class.

    Args:
        logits: ``(R, outputs, M, M)``.
        boxes: the regions of each image, ``(R_i, 4)``.
        matched: index of the annotated object of each region, ``(R_i,)``.
        targets: ``labels`` from 1 on and ``masks`` of each image.
        aligned: as for RoIAlign.
    """
    labels = torch.cat([target["labels"][own] for target, own in zip(targets, matched)])
    if not len(labels):
        return logits.sum() * 0  # keeps the mask head in the graph, for processes that share gradients
    parts = zip(targets, boxes, matched)
    wanted = [mask_targets(each["masks"], own, index, logits.shape[-1], aligned) for each, own, index in parts]
    chosen = logits[torch.arange(len(labels), device=labels.device), labels].float()
    return F.binary_cross_entropy_with_logits(chosen, torch.cat(wanted))
