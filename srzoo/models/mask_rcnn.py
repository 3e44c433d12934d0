"""Mask R-CNN with a feature pyramid (He et al., 2017), and the block in its backbone (arXiv 2011.03308, Table 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from ..backbones.pyramid import PyramidBackbone, stem_and_stages
from ..data.bands import RGB
from ..labels import LabelSet
from ..layers.checks import check_flag, check_number, check_options, check_share, check_whole, check_wholes
from ..layers.insertion import block_names
from ..layers.meta import on_meta
from ..messages import shortened
from .base import ZooModel, check_image_batch, check_normalized
from .cost import multiply_adds
from .proposals import proposal_network
from .region_heads import Detections, RegionHeads, Sizes
from .targets import check_targets, with_windows

_COUNTED_REGIONS, _COUNTED_MASKS = 1000, 100  # as mmdetection counts a detector's cost


class MaskRCNN(ZooModel):
    """Mask R-CNN with a feature pyramid.

    The tensors have torchvision's names. The defaults compute what torchvision's ``maskrcnn_resnet50_fpn`` does; the
    conventions of other libraries, which their checkpoints need, are arguments.

    Args:
        backbone: any timm backbone with ``features_only``.
        num_classes: number of classes, without the background.
        context: a context module in the backbone, a key of `srzoo.layers.CONTEXT_MODULES`; "none" for none.
        context_places: names of the modules of the backbone that it is inserted after; default those of
            `srzoo.backbones.pyramid.default_places`.
        channels: of the pyramid's levels and of the mask head's last two layers.
        box_channels: width of the fully connected layers of the box head.
        box_layers: output channels of 3x3 convolutions in the box head, before a single fully connected layer; none for
            two fully connected layers alone.
        mask_layers: output channels of the mask head's 3x3 convolutions.
        rpn_convs: 3x3 convolutions of the region proposal network.
        norm: a BatchNorm behind each convolution of the pyramid, the box head and the mask head, instead of a bias; as
            ``box_layers=(256,) * 4`` and ``rpn_convs=2`` in torchvision's ``maskrcnn_resnet50_fpn_v2``.
        sampling: samples per cell and axis of RoIAlign; 0 for as many as fit, as in detectron2 and mmdetection 2.
        aligned: half-pixel offset in RoIAlign and in the pasted masks, as in detectron2 and mmdetection 2.
        rounded_anchors: whole pixels for anchors and for the steps between them, as in torchvision.
        anchor_offset: of the first anchor's centre, in strides of its level, 0 to 1: 0.5 in mmdetection 1.
        anchor_scale: side of an anchor in strides of its level, 1 or more.
        box_beta: where the box loss turns from squared to linear: 1/9 in torchvision, 1 in mmdetection 1, 0 for a loss
            that is linear throughout.
        stride_in_1x1: a ResNet's blocks reduce in their first 1x1 convolution, as in detectron2's MSRA weights.
        backbone_options: for ``timm.create_model``.
        size_divisor: height and width are padded to multiples of this, and of the coarsest level's stride.
        in_channels: of the image.
        **context_options: of the context module, e.g. ``nodes`` and ``reduction`` for "sr".

    Attributes:
        num_classes: number of classes.
        frozen_statistics: whether BatchNorms use their running statistics in training too; set by `freeze_statistics`.

    Shape:
        ``(N, in_channels, H, W)`` normalized floats, ``H, W >= 32``.

    Raises:
        ValueError: an argument is out of range, timm has no such backbone, or an invalid option of the context module.
        TypeError: an option that the context module does not have.
    """

    task = "instance"

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        context: str = "none",
        context_places: tuple[str, ...] | None = None,
        channels: int = 256,
        box_channels: int = 1024,
        box_layers: tuple[int, ...] = (),
        mask_layers: tuple[int, ...] = (256, 256, 256, 256),
        rpn_convs: int = 1,
        norm: bool = False,
        sampling: int = 2,
        aligned: bool = False,
        rounded_anchors: bool = True,
        anchor_offset: float = 0,
        anchor_scale: float = 8,
        box_beta: float = 1 / 9,
        stride_in_1x1: bool = False,
        backbone_options: dict | None = None,
        size_divisor: int = 1,
        in_channels: int = 3,
        **context_options,
    ):
        check_whole(num_classes=num_classes, box_channels=box_channels, size_divisor=size_divisor, rpn_convs=rpn_convs)
        check_whole(in_channels=in_channels)
        check_whole(0, sampling=sampling)
        check_number(1, anchor_scale=anchor_scale)
        check_number(0, box_beta=box_beta)
        check_share(anchor_offset=anchor_offset)
        check_wholes(mask_layers=mask_layers, box_layers=box_layers)
        check_flag(norm=norm, aligned=aligned, rounded_anchors=rounded_anchors, stride_in_1x1=stride_in_1x1)
        check_options(backbone_options=backbone_options)
        super().__init__()
        places = context_places, context_options
        backbone_options = backbone_options or {}
        if in_channels != 3:
            backbone_options = {**backbone_options, "in_chans": in_channels}
        self.backbone = PyramidBackbone(backbone, backbone_options, channels, context, *places, norm)
        if stride_in_1x1:
            _move_strides(self.backbone.body, backbone)
        strides = self.backbone.level_strides
        self.rpn = proposal_network(strides, channels, anchor_scale, rounded_anchors, anchor_offset, rpn_convs)
        self.roi_heads = self._heads(
            strides[:-1],
            channels,
            num_classes,
            box_channels=box_channels,
            box_layers=tuple(box_layers),
            mask_layers=tuple(mask_layers),
            norm=norm,
            sampling=sampling,
            aligned=aligned,
            box_beta=box_beta,
        )
        self.num_classes, self.aligned, self.in_channels = num_classes, aligned, in_channels
        self.size_divisor = size_divisor
        self.frozen_statistics = False

    def _heads(self, strides: list[int], channels: int, num_classes: int, **options) -> RegionHeads:
        return RegionHeads(strides, channels, num_classes, **options)

    def _replace_classifiers(self, labels: LabelSet) -> None:
        self.num_classes = len(labels.classes)
        self.roi_heads.replace_classifiers(self.num_classes)

    def _reorder_classifiers(self, order: Sequence[int], labels: LabelSet) -> None:
        self.roi_heads.reorder_classifiers(order)

    @property
    def input_multiple(self) -> int:
        """Height and width of the input should be multiples of this number of pixels."""
        return math.lcm(self.backbone.level_strides[-2], self.size_divisor)

    def forward(
        self,
        x: torch.Tensor,
        image_sizes: Sizes | None = None,
        targets: list[dict] | None = None,
        score: float | None = None,
        count: int | None = None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        """The losses by name in training, else the detections of each image.

        Args:
            x: ``(N, in_channels, H, W)`` normalized floats. Images of different size are padded at the right and at the
                bottom.
            image_sizes: ``(H, W)`` of each image without its padding, in pixels; default that of ``x``.
            targets: for training, of each image a dict: ``boxes`` ``(n, 4)`` float, x0, y0, x1, y1 in pixels of ``x``;
                ``labels`` ``(n,)`` int64 class ids from 0 on (torchvision's count from 1); and ``masks`` ``(n, H, W)``,
                not 0 inside, or the same as `srzoo.data.mask_windows.MaskWindows`, which take less memory. See
                `srzoo.models.targets.check_targets`. Pass them by name.
            score: least score of a detection, default 0.05. The mask head runs on these alone.
            count: number of detections in an image at most, default 100.

        Returns:
            In training ``{"objectness", "rpn box", "class", "box", "mask"}``, scalars in float32. In evaluation a dict
            for each image: ``boxes`` ``(n, 4)`` x0, y0, x1, y1 in pixels of ``x``, ``scores`` ``(n,)``, ``labels``
            ``(n,)`` class ids from 0 on, and ``masks`` ``(n, 28, 28)``, probabilities within the boxes, all float32 but
            the labels; the highest score first.

        Raises:
            ValueError: ``x`` is not ``(N, in_channels, H, W)``, not floating, or has a side below 32 pixels; the
                targets do not fit; ``score`` is not in 0..1, or ``count`` no whole number of at least 1. In training,
                and on a CPU: RGB images are not normalized. On a CPU: the image or the weights are not finite.
            RuntimeError: ``torch.export`` is tracing.
        """
        x, image_sizes, targets = self._checked(x, image_sizes, targets)
        levels = self.backbone(x)
        return self._regions(x, levels, image_sizes, targets, score, count)

    def _checked(self, x: torch.Tensor, image_sizes: Sizes | None, targets: list[dict] | None):
        if torch.compiler.is_exporting():
            raise RuntimeError(
                f"torch.export cannot export {type(self).__name__}, whose number of boxes depends on the image: "
                "srzoo.export_program and export_onnx export its network, without the choice of boxes"
            )
        check_image_batch(x, self.in_channels)
        is_checked = self.training or x.device.type == "cpu"  # elsewhere a GPU would be waited for
        if is_checked and self.config is not None and self.in_channels == RGB:  # other channels may have any numbers
            check_normalized(x, self.config.transform)
        whole = tuple(x.shape[-2:])
        image_sizes = [whole] * len(x) if image_sizes is None else _checked_sizes(image_sizes, len(x), whole)
        if self.training:
            targets = with_windows(targets)
            check_targets(targets, image_sizes, self.num_classes)
            # Inside the network, 0 is the background.
            targets = [
                {**each, "boxes": each["boxes"].float().reshape(-1, 4), "labels": each["labels"] + 1}
                for each in targets
            ]
        multiple = self.input_multiple
        height, width = (-side % multiple for side in x.shape[-2:])
        return (F.pad(x, (0, width, 0, height)) if height or width else x), image_sizes, targets

    def _regions(
        self,
        x: torch.Tensor,
        levels: dict[str, torch.Tensor],
        image_sizes: Sizes,
        targets: list[dict] | None,
        score: float | None,
        count: int | None,
    ) -> list[Detections] | dict[str, torch.Tensor]:
        if score is not None:
            check_share(score=score)
        if count is not None:
            check_whole(count=count)
        proposals, losses = self.rpn(ImageList(x, image_sizes), levels, targets)
        features = [levels[name] for name in self.backbone.level_names]
        found = self.roi_heads(features, proposals, image_sizes, targets, score, count)
        if self.training:
            return {"objectness": losses["loss_objectness"], "rpn box": losses["loss_rpn_box_reg"], **found}
        return [{**each, "labels": each["labels"] - 1} for each in found]

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Those of the backbone, without the pyramid and without context modules in it."""
        blocks = tuple(f"{name}." for name in block_names(self.backbone.body))
        return [p for name, p in self.backbone.body.named_parameters() if not name.startswith(blocks or ("\0",))]

    def freeze_statistics(self, frozen: bool = True) -> None:
        """Use the running statistics of all BatchNorms in training too, as with few images per step."""
        self.frozen_statistics = frozen
        self.train(self.training)

    def freeze_stages(self, count: int) -> None:
        """Fix the parameters and the statistics of the backbone's stem and first ``count`` stages; 0 for none."""
        for parameter in stem_and_stages(self.backbone, count):
            parameter.requires_grad_(False)
        self.train(self.training)  # finding them has changed the mode of the backbone

    def train(self, mode: bool = True) -> MaskRCNN:
        super().train(mode)
        norms = (part for part in self.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm))
        for part in norms if mode else ():
            is_fixed = part.weight is not None and not part.weight.requires_grad
            if is_fixed or self.frozen_statistics:
                part.eval()
        return self

    def cost(self, input_size: tuple[int, int]) -> int:
        """Multiply-adds for one image, with 1000 regions in the box head and 100 in the mask head.

        Args:
            input_size: ``(H, W)`` of the image in pixels. As in ``forward``, it is padded to `input_multiple`.
        """
        input_size = tuple(-(-side // self.input_multiple) * self.input_multiple for side in input_size)
        twin = on_meta(self).eval()
        with torch.device("meta"):
            image = torch.empty(1, self.in_channels, *input_size, dtype=next(twin.parameters()).dtype)
            return multiply_adds(lambda: twin.fixed_work(image))

    def fixed_work(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run every part once, on as many regions as mmdetection counts; returns the levels."""
        levels = self.backbone(x)
        self.rpn.head(list(levels.values()))
        self.roi_heads.fixed_work(
            [levels[name] for name in self.backbone.level_names], _COUNTED_REGIONS, _COUNTED_MASKS
        )
        return levels


def _checked_sizes(sizes: Sizes, count: int, whole: tuple[int, int]) -> Sizes:
    """``image_sizes`` of a batch of ``count`` images whose padded size is ``whole``.

    Raises:
        ValueError: they are no sizes, or do not fit.
    """
    if isinstance(sizes, (list, tuple)) and any(isinstance(each, Mapping) for each in sizes):
        raise ValueError("image_sizes are dicts, as targets are; pass those by name: model(x, targets=targets)")
    try:
        pairs = [(height, width) for height, width in sizes]
        fits = len(pairs) == count and all(0 < own <= side for pair in pairs for own, side in zip(pair, whole))
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"image_sizes must be {count} sizes (H, W) from (1, 1) to {whole}, those of x, got {shortened(sizes)}"
        )
    return [pair if all(type(side) is int for side in pair) else tuple(map(int, pair)) for pair in pairs]


def _move_strides(body: nn.Module, name: str) -> None:
    """Let the first 1x1 convolution of a ResNet's blocks reduce, instead of the 3x3 convolution after it.

    Raises:
        ValueError: the backbone is not a ResNet of bottlenecks.
    """
    stages = [getattr(body, f"layer{i}", None) for i in range(1, 5)]
    if any(stage is None or not hasattr(stage[0], "conv3") for stage in stages):
        raise ValueError(f"stride_in_1x1 needs a ResNet of bottlenecks, got {name!r}; leave it out")
    for block in (block for stage in stages for block in stage):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
