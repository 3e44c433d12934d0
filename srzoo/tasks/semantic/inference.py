"""From one image to labels, with the scales, flips, tiles and windows of a `View`."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence

import torch
from PIL import Image
from torch import nn

from srzoo_kernels import upsample_argmax
from srzoo_kernels.bilinear.rows import interpolate_rows
from srzoo_kernels.layout import label_dtype

from ...data.bands import Bands, shown
from ...models.base import check_results
from ...zoo.transform import Transform
from .result import Segmentation
from .tiling import ImagePixels, tile_logits, whole_logits, window_logits
from .view import View

_STRIP = 1 << 22  # averaged probabilities at a time: 16 MiB, whatever the size of the image
_LEARNT = 2  # factor on the size of an image up to which training scales it


def segment(model: nn.Module, image: Image.Image | Bands, view: View, with_probabilities: bool = True) -> Segmentation:
    """Segment one image, at the size of the image; other arguments and errors are those of `image_logits`.

    ``with_probabilities`` keeps the logits, from which `Segmentation.probabilities` are computed.
    """
    return _result(model, image, image_logits(model, image, view), view, with_probabilities)


def segment_batch(
    model: nn.Module, images: Sequence[Image.Image | Bands], view: View, with_probabilities: bool = True
) -> list[Segmentation]:
    """`segment` for several images. Those that have one size in the network run together.

    Tiles and windows of one image are not run with those of another, nor is an exported network, which may take one
    image at a time.
    """
    if view.tile is not None or view.window is not None or not hasattr(model, "head"):
        return [segment(model, image, view, with_probabilities) for image in images]
    alike = defaultdict(list)
    for index, image in enumerate(images):
        scaled = (model.config.transform.scaled(scale) for scale in view.scales)
        alike[tuple(each.content_size(image.height, image.width) for each in scaled)].append(index)
    results: dict[int, Segmentation] = {}
    for indices in alike.values():
        passes = _passes(model, [images[index] for index in indices], view)
        for place, index in enumerate(indices):
            # Copies, since a part of a tensor keeps all of its memory.
            own = [logits[place : place + 1].clone() for logits in passes]
            results[index] = _result(model, images[index], own, view, with_probabilities)
    return [results[index] for index in range(len(images))]


def _result(
    model: nn.Module, image: Image.Image | Bands, passes: list[torch.Tensor], view: View, with_logits: bool
) -> Segmentation:
    size = image.height, image.width
    labels = mean_labels(passes, size, model.align_corners, view.threshold)[0].cpu().numpy()
    config = model.config
    # On the CPU, so that a list of results takes no GPU memory.
    kept = [each.cpu() for each in passes] if with_logits else []
    return Segmentation(shown(image), labels, config.classes, config.palette, kept, model.align_corners)


def image_logits(model: nn.Module, image: Image.Image | Bands, view: View) -> list[torch.Tensor]:
    """Run a model on one image, once for each scale and each flip of the view.

    Args:
        model: one of srzoo's models in evaluation mode; its transform prepares the image.
        image: an RGB image of any size, or `Bands` of another number of channels.
        view: scales, flip, and tiles or windows.

    Returns:
        ``(1, K, h, w)`` logits at the network's own resolution for each pass; those of flips are flipped back.

    Raises:
        ValueError: the model does not support the view.
        NonFiniteError: the model overflows on the image.
    """
    return _passes(model, [image], view)


def _passes(model: nn.Module, images: list[Image.Image], view: View) -> list[torch.Tensor]:
    """`image_logits` for images of one size in the network; ``(N, K, h, w)`` for each pass."""
    transform, (height, width) = model.config.transform, (images[0].height, images[0].width)
    if view.tile is not None:
        transform = _tiled(transform, height, width, view)
    for image in images:
        transform.warn_of_limit(image.height, image.width)
    passes = []
    for scale in view.scales:
        pixels = _pixels(images, transform.scaled(scale), view)
        passes.append(_logits(model, pixels, view))
        if view.flip:
            passes.append(_logits(model, pixels.flip(3), view).flip(3))
    for logits in passes:
        check_results(logits=logits)
    return passes


def _tiled(transform: Transform, height: int, width: int, view: View) -> Transform:
    """The transform for tiles: without a limit of pixels, at the scale of the image or of the model."""
    if view.tile_scale == "model":
        return transform.without_limit(height, width)
    factor = min(height, width) / transform.short_side
    if factor > _LEARNT:
        warnings.warn(
            f"tiles see the image at {factor:.1f} times the short side of {transform.short_side} that the model was "
            "trained at; if a thing is that much larger in it than in the training images, pass --tile_scale model, "
            f"or --scales {round(1 / factor, 2)} to {round(_LEARNT / factor, 2)}",
            stacklevel=2,
        )
    return transform.without_reduction(height, width)


def _pixels(images: list[Image.Image | Bands], transform: Transform, view: View) -> torch.Tensor | ImagePixels:
    """The resized images; for tiles, where possible, without all of the pixels in memory at once."""
    image = images[0]
    keeps_width = transform.content_size(image.height, image.width)[1] == image.width
    if view.tile is not None and not view.flip and keeps_width:
        return ImagePixels(image, transform)
    resized = [transform.resize(each) for each in images]
    return resized[0] if len(resized) == 1 else torch.cat(resized)


def _logits(model: nn.Module, pixels: torch.Tensor | ImagePixels, view: View) -> torch.Tensor:
    if view.tile is not None:
        return tile_logits(model, pixels, view.tile, view.halo)
    if view.window is not None:
        return window_logits(model, pixels, view.window)
    return whole_logits(model, pixels)


def mean_labels(
    passes: list[torch.Tensor], size: tuple[int, int], align_corners: bool = False, threshold: float | None = None
) -> torch.Tensor:
    """The most probable class of each pixel, by the mean of the softmax probabilities of several passes.

    The logits of each pass are resized to ``size`` first. This is done in strips of rows, so that the probabilities of
    the whole image are never in memory. With one pass it is `upsample_argmax`, which is faster.

    Args:
        passes: ``(1, K, h, w)`` logits; ``h`` and ``w`` may differ between passes.
        size: ``(H, W)``.
        align_corners: as in ``torch.nn.functional.interpolate``, for the resize.
        threshold: least probability of the second of two classes; None for the more probable one.

    Returns:
        ``(1, H, W)`` class ids, uint8 (int64 above 256 classes).
    """
    if len(passes) == 1:
        logits = passes[0]
        if threshold is not None:  # the logit of class 1 over that of class 0 is compared with that of the threshold
            logits = logits - logits.new_tensor([0.0, math.log(threshold / (1 - threshold))])[:, None, None]
        return upsample_argmax(logits, size, align_corners)
    height, width = size
    classes = passes[0].shape[1]
    dtype = label_dtype(classes)
    rows = max(1, _STRIP // (classes * width))
    strips = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        total = sum(interpolate_rows(logits, top, bottom, size, align_corners).softmax(1) for logits in passes)
        found = total.argmax(1) if threshold is None else total[:, 1] > threshold * len(passes)
        strips.append(found.to(dtype))
    return torch.cat(strips, 1)
