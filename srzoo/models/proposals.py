"""The region proposal network of detectors: torchvision's, with anchors and outputs in float32."""

from __future__ import annotations

import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from srzoo_kernels.checks import check_finite

from .crowds import without_crowds

_RATIOS = (0.5, 1.0, 2.0)  # height / width


class PyramidAnchors(AnchorGenerator):
    """Anchors of one size and three ratios for each level of a pyramid, in float32.

    Args:
        strides: of the levels, fine to coarse.
        scale: side of an anchor in strides of its level.
        rounded: round the anchors to whole pixels, and the step from anchor to anchor down to what divides the sides of
            the padded images, as torchvision does; detectron2 and mmdetection 2 do not. The step differs from the
            stride on a level whose stride does not divide them, e.g. 61 instead of 64 for 13 rows of 800 pixels.
        offset: of the first anchor's centre from the image's corner, in strides of its level: 0.5 in mmdetection 1.
    """

    def __init__(self, strides: list[int], scale: float = 8, rounded: bool = True, offset: float = 0):
        self.strides, self.rounded, self.offset = strides, rounded, offset
        super().__init__(tuple((round(scale * stride),) for stride in strides), (_RATIOS,) * len(strides))

    def generate_anchors(self, scales, aspect_ratios, dtype=torch.float32, device=torch.device("cpu")):  # noqa: B008
        if self.rounded:
            return super().generate_anchors(scales, aspect_ratios, dtype, device)
        heights = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()[:, None]
        sides = torch.as_tensor(scales, dtype=dtype, device=device)[None]
        height, width = (heights * sides).flatten(), (sides / heights).flatten()
        return torch.stack([-width, -height, width, height], 1) / 2

    def forward(self, image_list: ImageList, feature_maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """``(A, 4)`` anchors for each image, x0, y0, x1, y1 in pixels: level by level, row by row."""
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        grids = [feature.shape[-2:] for feature in feature_maps]
        steps = [(stride, stride) for stride in self.strides]
        if self.rounded:
            height, width = image_list.tensors.shape[-2:]
            steps = [(height // rows, width // columns) for rows, columns in grids]
        levels = self.grid_anchors(grids, steps)
        anchors = torch.cat([level + self.offset * stride for level, stride in zip(levels, self.strides)])
        return [anchors] * len(image_list.image_sizes)


class ProposalHead(RPNHead):
    """torchvision's ``RPNHead`` with outputs in float32: boxes decoded from half precision are off by pixels.

    On a CPU it refuses outputs that are not finite, of which torchvision makes an image without objects.
    """

    def forward(self, x: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        logits, deltas = super().forward(x)
        if not torch.compiler.is_compiling():
            for each in logits:
                check_finite(objectness=each)
        return [each.float() for each in logits], [each.float() for each in deltas]


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's ``RegionProposalNetwork``, which leaves out anchors in a crowd."""

    def assign_targets_to_anchors(
        self, anchors: list[torch.Tensor], targets: list[dict]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        parts = zip(labels, anchors, targets)
        return [without_crowds(each, own, target.get("crowds")) for each, own, target in parts], matched


def proposal_network(
    strides: list[int],
    channels: int,
    anchor_scale: float,
    rounded: bool,
    anchor_offset: float = 0,
    convs: int = 1,
    proposals: tuple[int, int] = (2000, 1000),
) -> ProposalNetwork:
    """A region proposal network with Table 5's settings.

    Args:
        strides: of the levels, fine to coarse.
        channels: of the levels.
        anchor_scale, rounded, anchor_offset: as for `PyramidAnchors`.
        convs: number of 3x3 convolutions in its head.
        proposals: how many to keep in training and in evaluation, for each level before and over all after suppression.
    """
    counts = dict(zip(("training", "testing"), proposals, strict=True))
    return ProposalNetwork(
        PyramidAnchors(strides, anchor_scale, rounded, anchor_offset),
        ProposalHead(channels, len(_RATIOS), convs),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n=counts,
        post_nms_top_n=counts,
        nms_thresh=0.7,
    )
