"""A network over an image part by part: tiles that share the whole image's context, and sliding windows."""

from __future__ import annotations

import ctypes
import math
import operator
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import reduce
from itertools import pairwise, product
from types import EllipsisType
from typing import NamedTuple

import torch
from PIL import Image
from torch import nn

from ...layers.moments import MomentBlock, Moments
from ...zoo.transform import Transform
from .view import View


class Span(NamedTuple):
    """Pixels ``start:stop`` of one side, which the network sees, and ``first:last`` of them, whose logits are kept.

    All are multiples of what the network's inputs have to be multiples of, its output stride or more.
    """

    start: int
    stop: int
    first: int
    last: int

    def cells(self, stride: int) -> tuple[slice, slice]:
        """The kept cells of a map of this stride: in the part's own map, and in the whole image's."""
        start, first, last = self.start // stride, self.first // stride, self.last // stride
        return slice(first - start, last - start), slice(first, last)


class Part(NamedTuple):
    """A rectangle of an image."""

    rows: Span
    columns: Span

    def of(self, pixels: torch.Tensor | ImagePixels) -> torch.Tensor:
        return pixels[..., self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]


class ImagePixels:
    """What ``transform.resize`` gives of an image that keeps its width, made a column of parts at a time.

    Beside an image of 100 million pixels the whole would take another 300 MB. It has the tensor's ``shape``, and is
    indexed like it by ``[..., rows, columns]``; parts are best asked for column after column.
    """

    def __init__(self, image: Image.Image, transform: Transform):
        self.shape = torch.Size([1, 3, *transform.input_size(image.height, image.width)])
        self._image, self._transform = image, transform
        self._columns: tuple[int, int] | None = None
        self._strip: torch.Tensor | None = None

    def __getitem__(self, index: tuple[EllipsisType, slice, slice]) -> torch.Tensor:
        _, rows, columns = index
        start, stop, _ = columns.indices(self.shape[3])
        if self._columns != (start, stop):
            self._strip = None  # before the next is made
            self._strip, self._columns = self._transform.resize_columns(self._image, start, stop), (start, stop)
        return self._strip[..., rows, :]


def tile_spans(length: int, tile: int, halo: int, multiple: int) -> list[Span]:
    """Cores of at most ``tile`` pixels, nearly equal, side by side, each seen with ``halo`` pixels around it."""
    units, count = length // multiple, -(-length // tile)
    edges = [multiple * (i * units // count) for i in range(count + 1)]
    return [Span(max(0, a - halo), min(length, b + halo), a, b) for a, b in pairwise(edges)]


def window_spans(length: int, window: int, multiple: int) -> list[Span]:
    """Windows two thirds of their length apart, PSPNet's choice; the last ends with the image. All is kept."""
    step = multiple * -(-2 * window // (3 * multiple))
    starts = [*range(0, length - window, step), max(0, length - window)]
    return [Span(start, stop := min(start + window, length), start, stop) for start in starts]


def whole_logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits ``(1, K, h, w)`` at the model's ``logits_stride`` of ``(1, 3, H, W)`` uint8 pixels, in one go."""
    return model(_prepare(model, pixels), upsample=False)


def window_logits(model: nn.Module, pixels: torch.Tensor, window: int) -> torch.Tensor:
    """Logits of one image by a sliding window, averaged where windows overlap.

    Args:
        model: made by this package.
        pixels: ``(1, 3, H, W)`` uint8, at the size that the network sees.
        window: side in pixels, a multiple of that of the model's transform, usually its output stride.

    Returns:
        ``(1, K, h, w)`` float32 logits at the model's ``logits_stride``, on its device.

    Raises:
        ValueError: the window or the image is no such multiple.
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
    """Logits of one image in tiles, whose Squeeze Reasoning is that of the whole image.

    The squeeze is additive over pixels: a first pass sums the moments of the tiles' cores, a second runs the model
    on every tile with those sums in place of the tile's own. What remains of the tiling is that the convolutions
    see no further than the halo. Backbones with global layers of their own (attention, squeeze-and-excitation) see
    their tile only.

    An image no larger than a tile is run whole.

    Args:
        model: in evaluation mode; folded or not. Its context is "sr", "sr_released" or "none".
        pixels: ``(1, 3, H, W)`` uint8, at the size that the network sees; only tiles of it become floats.
        tile: greatest side of a tile's core, in pixels.
        halo: pixels of real image around a core that the network sees too. Both are multiples of that of the model's
            transform, usually its output stride.

    Returns:
        ``(1, K, h, w)`` float32 logits at the model's ``logits_stride``, on its device.

    Raises:
        ValueError: the tile, the halo or the image is no such multiple, or the model's context is not additive.
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
    """Refuse what `tile_logits` cannot do.

    Raises:
        ValueError: the tile or the halo does not fit the model, or its context is not additive.
    """
    multiple = model.config.transform.multiple
    _check_side("tile", tile, multiple)
    if halo < 0 or halo % multiple:
        raise ValueError(f"halo={halo} must be 0 or a multiple of {multiple}, as the model's inputs are")
    _squeeze_block(model)


def check_window(model: nn.Module, window: int) -> None:
    """Refuse a window that `window_logits` cannot slide.

    Raises:
        ValueError: it is no multiple of what the model's inputs are.
    """
    _check_side("window", window, model.config.transform.multiple)


def _whole_moments(
    model: nn.Module, block: MomentBlock, pixels: torch.Tensor | ImagePixels, parts: list[Part]
) -> Moments:
    moments = {}
    for part in _returning_memory(parts):
        own = [span.cells(model.output_stride)[0] for span in part]
        moments[part] = block.moments(model.context_input(_prepare(model, part.of(pixels)))[(..., *own)])
    # From the top left on: the sum, to its last bit, depends on the order.
    return reduce(operator.add, (moments[part] for part in sorted(parts)))


def _stitch(model: nn.Module, pixels: torch.Tensor | ImagePixels, parts: list[Part]) -> torch.Tensor:
    """The kept logits of every part in their place, summed where several keep the same cell."""
    stride = model.logits_stride
    size = [length // stride for length in pixels.shape[2:]]
    total = None
    for part in _returning_memory(parts):
        logits = whole_logits(model, part.of(pixels)).float()
        if total is None:
            total = logits.new_zeros(1, logits.shape[1], *size)
        own, whole = zip(*(span.cells(stride) for span in part))
        total[(..., *whole)] += logits[(..., *own)]
        del logits
    return total


_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None


def _returning_memory(parts: list[Part]) -> Iterator[Part]:
    """The parts; after each million pixels what they needed goes back to the system, where the C library is glibc.

    Until its version 2.38 an aligned block, as each of torch's is, does not fit where one of its size was freed: over
    a hundred parts the heap would grow to several times what one needs.
    """
    pixels = 0
    for part in parts:
        yield part
        pixels += math.prod(span.stop - span.start for span in part)
        if _malloc_trim is not None and (pixels >= 1 << 20 or part is parts[-1]):
            _malloc_trim(0)
            pixels = 0


def _prepare(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    pixels = pixels.to(next(model.parameters()).device).contiguous(memory_format=torch.channels_last)
    return model.config.transform.normalize(pixels)


def _squeeze_block(model: nn.Module) -> MomentBlock | None:
    """The block that tiles share; None for a model without context.

    Raises:
        ValueError: the model's context is of another kind.
    """
    for module in model.head.modules():  # one that `insert` put into the backbone sees its tile
        if isinstance(module, MomentBlock):
            return module
    if isinstance(getattr(model.head, "context", model.head), nn.Identity):
        return None
    raise ValueError(
        f"{model.config.name} has no Squeeze Reasoning, whose context adds up over tiles; run it on whole images, "
        "or take a model with context='sr', 'sr_released' or 'none'"
    )


def _check_side(name: str, side: int, multiple: int) -> None:
    if side < 64 or side % multiple:  # half a tile still has the 32 pixels that a model needs
        raise ValueError(f"{name}={side} must be at least 64 and a multiple of {multiple}, as the model's inputs are")


def _check_pixels(pixels: torch.Tensor, multiple: int) -> None:
    height, width = pixels.shape[2:]
    if height % multiple or width % multiple:
        raise ValueError(f"both sides of an image of {width}x{height} pixels must be multiples of {multiple}")
