"""``srzoo::upsample_argmax``: labels at full resolution from logits at the network's."""

import torch
from torch.utils.flop_counter import register_flop_formula

from ..bilinear.cells import Cells, Part
from ..checks import check_logits, check_size
from ..launch import HAS_TRITON, interpreted
from ..layout import accumulation_dtype, label_dtype
from .reference import upsample_argmax as _library

_BLOCK = 3 << 17  # elements of a block of cells: 1.5 MB of float32, which stays in the caches


@torch.library.custom_op("srzoo::upsample_argmax", mutates_args=(), device_types="cuda")
def _upsample_argmax(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    from ._triton import upsample_argmax_triton

    return upsample_argmax_triton(logits, height, width, align_corners, return_probability)


@_upsample_argmax.register_fake
def _(logits, height, width, align_corners, return_probability):
    shape = (logits.shape[0], height, width)
    probability = logits.new_empty(shape if return_probability else (0,), dtype=torch.float32)
    return logits.new_empty(shape, dtype=label_dtype(logits.shape[1])), probability


@_upsample_argmax.register_kernel("cpu")
def _(logits, height, width, align_corners, return_probability):
    if interpreted():
        from ._triton import upsample_argmax_triton

        return upsample_argmax_triton(logits, height, width, align_corners, return_probability)
    n, k, h, w = logits.shape
    labels = logits.new_empty((n, height, width), dtype=label_dtype(k))
    probability = logits.new_empty((n, height, width) if return_probability else (0,), dtype=torch.float32)
    cells = Cells((h, w), (height, width), align_corners, accumulation_dtype(logits))
    for image in range(n):
        source = logits[image].flatten(1).contiguous()
        if return_probability:
            for part in cells.parts(k, _BLOCK):
                _label_part(part, source, labels[image], probability[image])
            torch.sub(k - 1, labels[image], out=labels[image])
        else:
            _label_image(cells, source, labels[image])
    return labels, probability


def _label_image(cells: Cells, source: torch.Tensor, labels: torch.Tensor) -> None:
    """Label every pixel of one image, computing only the cells whose corners disagree.

    Where one class is the largest at all four corners it is the largest in any convex combination of them.
    """
    dtype = cells.rows.weight.dtype
    parts = (part.to(dtype, copy=True) for part in source.split(max(1, _BLOCK // len(source)), 1))
    winner = torch.cat([_classes_left(part, part.amax(0), 0).to(labels.dtype) for part in parts])
    cells.spread(winner.view(cells.source), out=labels)
    mixed = []
    for part in cells.parts(1, _BLOCK):
        corners = winner[part.corners().flatten(0, 1)]
        mixed.append(part.index[(corners != corners[0]).any(0)])
    for part in cells.parts(len(source), _BLOCK, torch.cat(mixed)):
        _label_part(part, source, labels)
    torch.sub(len(source) - 1, labels, out=labels)


def _label_part(
    part: Part, source: torch.Tensor, labels: torch.Tensor, probability: torch.Tensor | None = None
) -> None:
    """Write how many classes follow the best one, and its probability."""
    block = part.resize(source)
    pixels = part.pixels().flatten()
    best = block.amax(1, keepdim=True)
    if probability is not None:
        probability.view(-1).scatter_(0, pixels, (block - best).exp_().sum(1).reciprocal_().float().flatten())
    labels.view(-1).scatter_(0, pixels, _classes_left(block, best, 1).to(labels.dtype).flatten())


def _classes_left(block: torch.Tensor, best: torch.Tensor, dim: int) -> torch.Tensor:
    """How many classes follow the first at which ``block`` equals its ``best``, as a float. Overwrites ``block``.

    With the maximum known this is ``argmax``, which neither vectorises over the pixels nor reads them in order;
    these passes do both, in a twentieth of the time.
    """
    rank = torch.arange(block.shape[dim] - 1, -1, -1, dtype=block.dtype)
    return block.eq_(best).mul_(rank.view(-1, *[1] * (block.dim() - dim - 1))).amax(dim)


@register_flop_formula(torch.ops.srzoo.upsample_argmax)
def _flops(logits_shape, height, width, *args, out_shape=None, **kwargs) -> int:
    """One linear interpolation (3 operations) and one comparison per pixel and class. What is shared between pixels
    (the other two interpolations) and what agreeing corners save is left out."""
    n, k = logits_shape[:2]
    return 4 * n * k * height * width


_upsample_argmax.register_autocast("cuda", torch.float32)
_upsample_argmax.register_autocast("cpu", torch.float32)


def upsample_argmax(
    logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False, return_probability: bool = False
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return ``interpolate(logits, size, mode="bilinear").argmax(1)`` without the full-resolution logits.

    The interpolation is computed in float32 (float64 for float64 logits), so that half-precision logits give fewer
    ties than the library's. Not differentiable.

    Args:
        logits: ``(N, K, h, w)``, any floating dtype, contiguous or channels_last. Where they are not finite the
            label is some class id.
        size: ``(H, W)`` of the labels.
        align_corners: as in ``torch.nn.functional.interpolate``.
        return_probability: also return the winning class's softmax probability.

    Returns:
        ``(N, H, W)`` labels, uint8 for up to 256 classes, else int64; of equals the first class. They are the
        library's wherever the two largest logits differ by more than 1e-5. With ``return_probability`` also
        ``(N, H, W)`` float32.

    Raises:
        ValueError: ``logits`` is not a floating ``(N, K, h, w)`` tensor, has no class or no pixel, or a side of
            ``size`` is below 1.
    """
    check_logits(logits)
    check_size(size)
    if logits.is_cuda and not HAS_TRITON:
        return _library(logits.detach().to(accumulation_dtype(logits)), size, align_corners, return_probability)
    labels, probability = _upsample_argmax(logits.detach(), *size, align_corners, return_probability)
    return (labels, probability) if return_probability else labels
