"""Segmentation of an image in parts: tiles that share the context of the whole image, and sliding windows."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import nullcontext
from functools import reduce
from itertools import pairwise, product
from types import EllipsisType
from typing import NamedTuple

import torch
from PIL import Image
from torch import nn

from ...data.bands import Bands
from ...layers.moments import MomentBlock, Moments
from ...zoo.transform import Transform
from ..allocator import trim
from .view import View


class Span(NamedTuple):
    """One side of a part of an image: the network sees pixels ``start:stop``, the logits of ``first:last`` are kept.

    ::

        start    first        last    stop
          |-halo---|----core----|-halo---|

    All four are multiples of the ``multiple`` of the model's transform, and so of the model's strides.
    """

    start: int
    stop: int
    first: int
    last: int

    def cells(self, stride: int) -> tuple[slice, slice]:
        """The kept cells of a map of this stride, as slices of the map of the part and of the map of the whole image.

        With stride 16, pixels 192:448 seen and 256:384 kept are cells 4:12 of the part and 16:24 of the image.
        """
        start, first, last = self.start // stride, self.first // stride, self.last // stride
        return slice(first - start, last - start), slice(first, last)


class Part(NamedTuple):
    """A rectangle of an image, with its halo."""

    rows: Span
    columns: Span

    def of(self, pixels: torch.Tensor | ImagePixels) -> torch.Tensor:
        """The pixels of an image ``(..., H, W)`` that the network sees, halo included."""
        return pixels[..., self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]


class ImagePixels:
    """The result of ``transform.resize`` for an image that keeps its width, computed one column of parts at a time.

    For an image of 100 million pixels the whole tensor would take another 300 MB. Has the tensor's ``shape`` and
    supports ``[..., rows, columns]`` with slices; ask for parts column by column.
    """

    def __init__(self, image: Image.Image | Bands, transform: Transform):
        self.shape = torch.Size([1, transform.channels, *transform.content_size(image.height, image.width)])
        self._image, self._transform = image, transform
        self._columns: tuple[int, int] | None = None
        self._strip: torch.Tensor | None = None

    def __getitem__(self, index: tuple[EllipsisType, slice, slice]) -> torch.Tensor:
        _, rows, columns = index
        start, stop, _ = columns.indices(self.shape[3])
        if self._columns != (start, stop):
            self._strip = None  # freed before the next one is made
            self._strip, self._columns = self._transform.resize_columns(self._image, start, stop), (start, stop)
        return self._strip[..., rows, :]


def tile_spans(length: int, tile: int, halo: int, multiple: int) -> list[Span]:
    """Spans whose cores are side by side, nearly equal and at most ``tile`` pixels long.

    Each is seen with up to ``halo`` pixels on both sides. For ``length=640, tile=256, halo=64, multiple=16`` the cores
    are 0:208, 208:416 and 416:640, and the second span is seen at 144:480.

    Args:
        length: side of the image in pixels, a multiple of ``multiple``, as are ``tile`` and ``halo``.
    """
    units, count = length // multiple, -(-length // tile)
    edges = [multiple * (i * units // count) for i in range(count + 1)]
    return [Span(max(0, a - halo), min(length, b + halo), a, b) for a, b in pairwise(edges)]


def window_spans(length: int, window: int, multiple: int) -> list[Span]:
    """Windows that start two thirds of their length apart, as in PSPNet; the last ends with the image.

    Everything that a window sees is kept. For ``length=640, window=384, multiple=16`` they are 0:384 and 256:640.
    """
    step = multiple * -(-2 * window // (3 * multiple))  # two thirds of the window, rounded up to the multiple
    starts = [*range(0, length - window, step), max(0, length - window)]
    return [Span(start, stop := min(start + window, length), start, stop) for start in starts]


def whole_logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """``(1, K, h, w)`` logits at the model's ``logits_stride`` of ``(1, 3, H, W)`` uint8 pixels, without parts."""
    return model(_prepare(model, pixels), upsample=False)


def window_logits(model: nn.Module, pixels: torch.Tensor, window: int) -> torch.Tensor:
    """Logits of one image by a sliding window, averaged where windows overlap.

    Args:
        model: one of srzoo's models.
        pixels: ``(1, 3, H, W)`` uint8, at the size of the network's input.
        window: side of the window in pixels, at least 64. It and the sides of the image are multiples of the
            ``multiple`` of the model's transform, which is its output stride or a multiple of it.

    Returns:
        ``(1, K, h, w)`` float32 logits at the model's ``logits_stride``, on its device.

    Raises:
        ValueError: the window or the image is not such a multiple, or the window is too small.
    """
    multiple = model.config.transform.multiple
    _check_side("window", window, multiple)
    _check_pixels(pixels, multiple)
    spans = [window_spans(length, window, multiple) for length in pixels.shape[2:]]
    total = _stitch(model, pixels, [Part(*pair) for pair in product(*spans)])
    rows, columns = (total.new_zeros(length) for length in total.shape[2:])
    for counts, side in zip((rows, columns), spans, strict=True):
        for span in side:
            counts[span.cells(model.logits_stride)[1]] += 1
    return total.div_(rows[:, None] * columns)


def tile_logits(model: nn.Module, pixels: torch.Tensor | ImagePixels, tile: int, halo: int = View.halo) -> torch.Tensor:
    """Logits of one image in tiles that share the Squeeze Reasoning of the whole image.

    The squeeze (Eq. 4 of the paper) is a sum over pixels. So a first pass over the tiles adds up the moments of their
    cores, and a second pass runs the model on each tile with the moments of the whole image. The result differs from
    that of the untiled image only because convolutions see no further than the halo. Global layers in the backbone
    (attention, squeeze-and-excitation) see only their tile.

    An image that is no larger than a tile is not cut.

    Args:
        model: one of srzoo's models in evaluation mode, fused or not, with the context "sr", "sr_released" or "none".
        pixels: ``(1, 3, H, W)`` uint8, at the size of the network's input, or an `ImagePixels`. Only one tile at a
            time is converted to float.
        tile: greatest side of the core of a tile in pixels, at least 64.
        halo: width in pixels of the border around the core that the network sees, too. It, ``tile`` and the sides of
            the image are multiples of the ``multiple`` of the model's transform, which is its output stride or a
            multiple of it.

    Returns:
        ``(1, K, h, w)`` float32 logits at the model's ``logits_stride``, on its device.

    Raises:
        ValueError: the tile, the halo or the image is not such a multiple, the tile is too small, or the context of the
            model cannot be added up over tiles.
    """
    check_tiles(model, tile, halo)
    multiple = model.config.transform.multiple
    _check_pixels(pixels, multiple)
    if max(pixels.shape[2:]) <= tile:
        return whole_logits(model, pixels[..., :, :])
    rows, columns = (tile_spans(length, tile, halo, multiple) for length in pixels.shape[2:])
    parts = [Part(row, column) for column in columns for row in rows]
    block = _squeeze_block(model)
    with nullcontext() if block is None else block.given(_whole_moments(model, block, pixels, parts)):
        return _stitch(model, pixels, parts)


def check_tiles(model: nn.Module, tile: int, halo: int = View.halo) -> None:
    """Check that a model can run in tiles; arguments as for `tile_logits`.

    Raises:
        ValueError: the tile or the halo is invalid for the model, or its context cannot be added up over tiles.
    """
    multiple = model.config.transform.multiple
    _check_side("tile", tile, multiple)
    if halo < 0 or halo % multiple:
        raise ValueError(f"halo={halo} must be 0 or a multiple of {multiple}, like the model's inputs")
    _squeeze_block(model)


def check_window(model: nn.Module, window: int) -> None:
    """Check that a model can run in sliding windows of this side.

    Raises:
        ValueError: the side is too small, or not a multiple of the ``multiple`` of the model's transform.
    """
    _check_side("window", window, model.config.transform.multiple)


def _whole_moments(
    model: nn.Module, block: MomentBlock, pixels: torch.Tensor | ImagePixels, parts: list[Part]
) -> Moments:
    """The moments of the whole image at the input of the block: the sum over the cores of all parts."""
    moments = {}
    for part in _releasing_memory(parts):
        own = [span.cells(model.output_stride)[0] for span in part]
        moments[part] = block.moments(model.context_input(_prepare(model, part.of(pixels)))[(..., *own)])
    # Always row by row, since the last bits of the sum depend on the order.
    return reduce(operator.add, (moments[part] for part in sorted(parts)))


def _stitch(model: nn.Module, pixels: torch.Tensor | ImagePixels, parts: list[Part]) -> torch.Tensor:
    """Put the kept logits of every part in their place, summed where parts overlap."""
    stride = model.logits_stride
    size = [length // stride for length in pixels.shape[2:]]
    total = None
    for part in _releasing_memory(parts):
        logits = whole_logits(model, part.of(pixels)).float()
        if total is None:
            total = logits.new_zeros(1, logits.shape[1], *size)
        own, whole = zip(*(span.cells(stride) for span in part))
        total[(..., *whole)] += logits[(..., *own)]
        del logits
    return total


def _releasing_memory(parts: list[Part]) -> Iterator[Part]:
    """Iterate over parts; after every million pixels, return freed memory to the system, where there is glibc.

    Before glibc 2.38 an aligned block, as every tensor is, cannot reuse the place of a freed one of the same size, so
    the heap would grow with the number of parts to several times of what one part needs.
    """
    pixels = 0
    for part in parts:
        yield part
        pixels += math.prod(span.stop - span.start for span in part)
        if pixels >= 1 << 20 or part is parts[-1]:
            trim()
            pixels = 0


def _prepare(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Model input of ``(1, 3, H, W)`` uint8 pixels, of the device and dtype of the model."""
    like = next(model.parameters())
    pixels = pixels.to(like.device).contiguous(memory_format=torch.channels_last)
    return model.config.transform.normalize(pixels).to(like.dtype)


def _squeeze_block(model: nn.Module) -> MomentBlock | None:
    """The block whose moments the tiles share; None for a model without context.

    Raises:
        ValueError: the model has a context of another kind, or is an exported network.
    """
    if not hasattr(model, "head"):
        raise ValueError(
            f"{model.config.name} is exported, so tiles cannot share its context; run it without tiles, or the model "
            "that it was exported from"
        )
    for module in model.head.modules():  # not the backbone: a block inserted there sees only its tile
        if isinstance(module, MomentBlock):
            return module
    if isinstance(getattr(model.head, "context", model.head), nn.Identity):
        return None
    raise ValueError(
        f"{model.config.name} has no Squeeze Reasoning, so tiles cannot share the context of the whole image; run it "
        "without tiles, or use a model with context='sr', 'sr_released' or 'none'"
    )


def _check_side(name: str, side: int, multiple: int) -> None:
    if side < 64 or side % multiple:  # a core may be half a tile, and a model needs 32 pixels
        raise ValueError(f"{name}={side} must be at least 64 and a multiple of {multiple}, like the model's inputs")


def _check_pixels(pixels: torch.Tensor, multiple: int) -> None:
    height, width = pixels.shape[2:]
    if height % multiple or width % multiple:
        raise ValueError(f"the sides of an image of {width}x{height} pixels must be multiples of {multiple}; resize it")
