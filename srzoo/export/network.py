"""What is exported of a model: its network from an image to logits, labels, or a detector's raw outputs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from srzoo_kernels.layout import label_dtype

from ..images import MAX_PIXELS
from ..layers.checks import check_flag
from ..layers.pyramids import PyramidPooling
from ..messages import no_option, visible
from ..models.base import ZooModel, check_zoo_model
from ..models.conv_act import ConvAct
from ..models.folding import fuse
from ..models.mask_rcnn import MaskRCNN
from ..models.panoptic_fpn import PanopticFPN
from ..models.semantic import SegmentationNet
from ..zoo.config import ModelConfig
from ..zoo.info import model_info

KEY = "srzoo"  # of the metadata in an exported file


@dataclass(frozen=True)
class Form:
    """What an exported network takes and returns.

    Attributes:
        size: ``(H, W)`` of its images in pixels; None for any.
        batch: number of images; None for any.
        images: "float" for ``(N, 3, H, W)`` normalized by the model's mean and standard deviation, or "uint8" for
            ``(N, H, W, 3)`` RGB in 0..255.
        output: "logits" ``(N, K, H, W)`` or "labels" ``(N, H, W)`` of a semantic model. A detector returns what its
            heads compute, see `outputs_of`.
        half: float16 weights, images and logits.

    Raises:
        ValueError: a value is of another type, or out of range.
    """

    size: tuple[int, int] | None = None
    batch: int | None = 1
    images: Literal["float", "uint8"] = "float"
    output: Literal["logits", "labels"] = "logits"
    half: bool = False

    def __post_init__(self):
        for name, allowed in (("images", ("float", "uint8")), ("output", ("logits", "labels"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {getattr(self, name)!r}")
        check_flag(half=self.half)
        if self.size is not None:
            if not _is_pair(self.size):
                raise ValueError(
                    f"size must be (H, W), two whole numbers, or None for any size, got {visible(repr(self.size), 100)}"
                )
            if min(self.size) < 32:
                raise ValueError(f"size must be at least 32x32 pixels, got {self.size[0]}x{self.size[1]}")
        if self.batch is not None and not (type(self.batch) is int and self.batch >= 1):
            raise ValueError(
                f"batch must be a whole number from 1 on, or None for any, got {visible(repr(self.batch), 100)}"
            )
        pixels = math.prod(self.size or (32, 32)) * (self.batch or 1)
        if pixels > MAX_PIXELS:
            raise ValueError(
                f"images of {pixels:,} pixels together, at most {MAX_PIXELS:,} can be exported: a network of any size "
                "or batch is exported with size=None or batch=None (--size dynamic, --batch dynamic)"
            )


def form_of(options: Mapping[str, Any], export: str, *others: str) -> Form:
    """The form of an export's keyword arguments.

    Args:
        options: fields of `Form` by name.
        export: the function's name, for messages.
        others: names of its arguments that are no fields of `Form`.

    Raises:
        ValueError: there is no such field, or a value is invalid.
    """
    known = [field.name for field in dataclasses.fields(Form)]
    if unknown := [name for name in options if name not in known]:
        on_command_line = {"input": "images"}
        raise ValueError(no_option(export, unknown[0], [*others, *known], synonyms=on_command_line))
    return Form(**options)


def _is_pair(size: object) -> bool:
    return isinstance(size, (tuple, list)) and len(size) == 2 and all(type(side) is int for side in size)


class ExportedNetwork(nn.Module):
    """A model as it is exported: fused, with the form's input and output.

    Args:
        model: from `create_model` or `load_model`.
        form: what it takes and returns.

    Attributes:
        metadata: what the exported file says about itself, text by name; under `KEY` all that `Segmenter` needs.
        output_names: of what `forward` returns, in order.
        program: the program that `srzoo.export.program.export_program` made of it; else None.

    Raises:
        ValueError: the model is not one of srzoo's; or is a detector, which has no labels for pixels; or pools over a
            grid, and the form has no size.
    """

    def __init__(self, model: nn.Module, form: Form):
        super().__init__()
        check_zoo_model(model, "export")
        if not isinstance(model, (SegmentationNet, MaskRCNN)):
            raise ValueError(f"only networks of srzoo can be exported, got {type(model).__name__}")
        if form.output == "labels" and not isinstance(model, SegmentationNet):
            raise ValueError(f"a model of task {model.task!r} has no labels for pixels; export its logits")
        pools = [part for part in model.modules() if isinstance(part, PyramidPooling)]
        if form.size is None and any(bins > 1 for part in pools for bins in part.bins):
            # torch.export decomposes it for the example's size alone.
            raise ValueError(
                f"{model.config.name} pools over a grid, which is exported for one size of images only; give it with "
                "size=(H, W), or --size HxW"
            )
        self.form, self.config = form, model.config
        self.program: torch.export.ExportedProgram | None = None
        self.metadata = metadata(self.config, model, form)
        # The block stays a module of its own: folded weights differ for each image of a batch, which ONNX cannot say.
        # It may be on a GPU or in another precision; the form says what the file has.
        dtype = torch.float16 if form.half else torch.float32
        self.model = fuse(model, blocks=False).to("cpu", dtype)
        if not isinstance(model, SegmentationNet):
            del self.model.roi_heads  # which are not exported, but a program would carry their weights
        for part in self.model.modules():
            if isinstance(part, ConvAct):
                part.taps = None  # a GPU's, which a program would carry unused
        divisor = getattr(self.model, "size_divisor", 1)
        if form.size is not None and isinstance(model, SegmentationNet) and not any(s % divisor for s in form.size):
            self.model.size_divisor = 1  # nothing to enlarge
        transform = self.config.transform
        # Of values in 0..255; (x / 255 - mean) / std.
        mean, std = (255 * torch.tensor(each)[:, None, None] for each in (transform.mean, transform.std))
        self.register_buffer("mean", mean.to(dtype), persistent=False)
        self.register_buffer("std", std.to(dtype), persistent=False)
        self.output_names = [form.output] if isinstance(model, SegmentationNet) else outputs_of(self.model)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        if self.form.images == "uint8":
            images = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        if not isinstance(self.model, SegmentationNet):
            return raw_outputs(self.model, images)
        logits = self.model(images)
        if self.form.output == "labels":
            return logits.argmax(1).to(label_dtype(logits.shape[1]))
        return logits

    def example(self) -> torch.Tensor:
        """Images of the form, or of a typical size where any is taken, for the trace."""
        height, width = self.form.size or (192, 320)
        count = self.form.batch or 2
        if self.form.images == "uint8":
            return self.mean.new_zeros((count, height, width, self.model.in_channels), dtype=torch.uint8)
        return self.mean.new_zeros(count, self.model.in_channels, height, width)

    def dynamic_shapes(self, multiple: int = 1) -> dict[int, torch.export.Dim]:
        """The axes of the images whose length is open, for ``torch.export.export``; sides are multiples of this."""
        first = 1 if self.form.images == "uint8" else 2
        dims = {} if self.form.batch else {0: torch.export.Dim("batch", min=1)}
        if self.form.size is None:
            for axis, name in ((first, "height"), (first + 1, "width")):
                if multiple == 1:
                    dims[axis] = torch.export.Dim(name, min=32)
                else:
                    dims[axis] = multiple * torch.export.Dim(name, min=max(2, 64 // multiple))
        return dims


def outputs_of(model: MaskRCNN) -> list[str]:
    """Names of what a detector's network computes before boxes are chosen.

    The levels of the pyramid ``level_i`` ``(N, C, h_i, w_i)``, fine to coarse; ``objectness_i`` ``(N, A, h_i, w_i)``
    and ``deltas_i`` ``(N, 4 A, h_i, w_i)`` of the proposals at each level and at a coarser one; and ``semantic``
    ``(N, 1 + stuff, h, w)`` of Panoptic FPN. Choosing boxes, RoIAlign and the heads on them are not exported.
    """
    count = len(model.backbone.level_names)
    rpn = [f"{kind}_{i}" for kind in ("objectness", "deltas") for i in range(count + 1)]
    return [f"level_{i}" for i in range(count)] + rpn + (["semantic"] if isinstance(model, PanopticFPN) else [])


def raw_outputs(model: MaskRCNN, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors that `outputs_of` names, for normalized ``images`` ``(N, 3, H, W)``.

    Images are padded at the right and at the bottom to the model's ``input_multiple``, as in its `forward`.
    """
    multiple = model.input_multiple
    height, width = ((multiple - side % multiple) % multiple for side in images.shape[-2:])
    images = F.pad(images, (0, width, 0, height))
    levels = model.backbone(images)
    own = [levels[name] for name in model.backbone.level_names]
    objectness, deltas = model.rpn.head(list(levels.values()))
    semantic = [model.semantic_head(own)] if isinstance(model, PanopticFPN) else []
    return (*own, *objectness, *deltas, *semantic)


def metadata(config: ModelConfig, model: ZooModel, form: Form) -> dict[str, str]:
    """What an exported file says about itself: for people and programs, and under `KEY` for srzoo, as JSON."""
    transform = config.transform
    own = {
        "config": json.loads(config.to_json()),
        "form": dataclasses.asdict(form),
        "align_corners": getattr(model, "align_corners", False),
    }
    return {
        KEY: json.dumps(own, sort_keys=True),
        "name": config.name,
        "task": config.task,
        "classes": json.dumps(config.classes),
        "palette": json.dumps(config.palette),
        "mean": json.dumps(transform.mean),
        "std": json.dumps(transform.std),
        "short_side": str(transform.short_side),
        "multiple": str(transform.multiple),
        "licence": "\n".join(model_info(config.name).licence),
    }
