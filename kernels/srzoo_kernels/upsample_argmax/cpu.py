"""The labels on a CPU, a few cells of the resize at a time."""

import torch

from ..bilinear.cells import Cells, Part
from ..layout import accumulation_dtype, label_dtype

_BLOCK = 3 << 17  # elements of a block of cells: 1.5 MB of float32, which stays in the caches


def upsample_argmax_cpu(
    logits: torch.Tensor, height: int, width: int, align_corners: bool, return_probability: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The operator on a CPU; arguments and results as `op._labels` has them."""
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

    Where one class is the largest at all four corners it is the largest in any convex combination of them. ``source``
    is ``(K, h * w)``, ``labels`` ``(H, W)``. Until the last line a label is counted from the last class, so that of
    equals the first is the largest number.
    """
    dtype = cells.rows.weight.dtype
    # The largest class of every source pixel, (h * w,).
    parts = (part.to(dtype, copy=True) for part in source.split(max(1, _BLOCK // len(source)), 1))
    winner = torch.cat([_classes_left(part, part.amax(0), 0).to(labels.dtype) for part in parts])
    # Every output gets that of one corner, and those of mixed cells their own after that.
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
    """Write how many classes follow the best one, and its probability, where there is something to write it to.

    ``source`` is ``(K, h * w)``, ``labels`` and ``probability`` are ``(H, W)``.
    """
    block = part.resize(source)  # (rows, K, columns, S)
    pixels = part.pixels().flatten()
    best = block.amax(1, keepdim=True)
    if probability is not None:
        probability.view(-1).scatter_(0, pixels, (block - best).exp_().sum(1).reciprocal_().float().flatten())
    labels.view(-1).scatter_(0, pixels, _classes_left(block, best, 1).to(labels.dtype).flatten())


def _classes_left(block: torch.Tensor, best: torch.Tensor, dim: int) -> torch.Tensor:
    """How many classes follow the first at which ``block`` equals its ``best``, as a float. Overwrites ``block``.

    With the maximum known this is ``argmax``, which neither vectorizes over the pixels nor reads them in order;
    these passes do both, in a twentieth of the time.
    """
    rank = torch.arange(block.shape[dim] - 1, -1, -1, dtype=block.dtype)
    return block.eq_(best).mul_(rank.view(-1, *[1] * (block.dim() - dim - 1))).amax(dim)
