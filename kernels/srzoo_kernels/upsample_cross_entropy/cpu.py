"""The loss and its gradient on a CPU, a few cells of the resize at a time; ``_triton.py`` has the equations.

Below, a block is ``(rows, K, columns, S)``: of ``S`` cells the outputs in ``rows`` and ``columns``, for every class.
Its pixels alone are ``P = columns * S`` in each of ``rows``.
"""

import torch

from ..bilinear.cells import Cells, Part
from ..layout import accumulation_dtype
from .labels import IGNORED, hard_pixels, ids_and_wrong

_BLOCK = 1 << 20  # elements of a block of cells: 4 MB of float32; many classes leave too few cells in less


def upsample_cross_entropy_cpu(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    ohem_threshold: float | None,
    ohem_min_kept: int,
    align_corners: bool,
    with_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The op's CPU kernel; arguments and results as `op._loss` has them."""
    k = logits.shape[1]
    dtype = accumulation_dtype(logits)
    labels, _ = ids_and_wrong(target, k, ignore_index)
    cells = Cells(logits.shape[2:], target.shape[1:], align_corners, dtype)
    if ohem_threshold is not None:
        probability = torch.zeros(labels.shape, dtype=dtype)
        for image in range(len(logits)):
            _true_class_probability(cells, logits[image].flatten(1).contiguous(), labels[image], probability[image])
        labels = labels.where(hard_pixels(probability, labels != IGNORED, ohem_threshold, ohem_min_kept), IGNORED)
    weight = logits.new_ones(k, dtype=dtype) if weight is None else weight.to(dtype)
    gradient = torch.empty_like(logits if with_gradient else logits.new_empty(0), dtype=dtype)
    totals = torch.zeros(2, dtype=torch.float64)  # of the loss and of the weights it is divided by
    for image in range(len(logits)):
        source = logits[image].flatten(1).contiguous()
        sums = torch.zeros(source.shape[::-1], dtype=dtype) if with_gradient else None
        for part in cells.parts(k, _BLOCK, _labelled_cells(cells, labels[image])):
            totals += _sum_part(part, source, labels[image], weight, label_smoothing, sums)
        if with_gradient:
            gradient[image].copy_(sums.T.unflatten(1, cells.source))
    loss, divisor = totals.tolist()
    if divisor == 0:
        return logits.new_zeros((), dtype=dtype), gradient.zero_()
    return logits.new_tensor(loss / divisor, dtype=dtype), gradient.div_(divisor)


def _labelled_cells(cells: Cells, labels: torch.Tensor) -> torch.Tensor:
    """The numbers ``(S,)`` of the cells with a pixel to learn from: a mined or a cropped target has few.

    ``labels`` is ``(H, W)`` with `IGNORED` where there is none.
    """
    labelled = [
        part.index[(labels.take(part.pixels()) != IGNORED).flatten(0, 1).any(0)] for part in cells.parts(8, _BLOCK)
    ]
    return torch.cat(labelled)


def _sum_part(
    part: Part,
    source: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor,
    smoothing: float,
    sums: torch.Tensor | None,
) -> torch.Tensor:
    """The loss's numerator and divisor over some cells, ``(2,)`` float64.

    Args:
        part: the cells.
        source: ``(K, h * w)``, one image's logits.
        labels: ``(H, W)`` int64, `IGNORED` where there is none.
        weight: ``(K,)``, of the classes.
        smoothing: in 0..1.
        sums: ``(h * w, K)``, to which the slopes' way to the corners is added, or None.
    """
    ids = labels.take(part.pixels()).where(part.inside(), IGNORED).flatten(1)
    block = part.resize(source)  # (rows, K, columns, S)
    flat = block.flatten(2)  # (rows, K, P), the same memory
    kept, ids = ids != IGNORED, ids.clamp_(min=0)  # (rows, P), as share, true and log_total
    share = weight[ids] * kept
    flat.sub_(flat.amax(1, keepdim=True))
    true = flat.gather(1, ids[:, None])[:, 0]  # x_py - max_k x_pk
    mean = weight @ flat / len(weight) if smoothing else None
    total = flat.exp_().sum(1)
    # L_p - x_py is log_total - true, as the maximum drops out.
    log_total = total.log()
    loss = (1 - smoothing) * share * (log_total - true)
    if smoothing:
        loss += smoothing * (weight.mean() * log_total - mean)
    loss = loss.where(kept, 0).sum(dtype=torch.float64)
    if sums is not None:
        _slope(flat, ids, kept, share, total, weight, smoothing)
        corners = part.collapse(block).transpose(2, 3).reshape(-1, len(weight))
        sums.index_add_(0, part.corners().flatten(), corners)
    return torch.stack([loss, share.sum(dtype=torch.float64)])


def _slope(
    flat: torch.Tensor,
    ids: torch.Tensor,
    kept: torch.Tensor,
    share: torch.Tensor,
    total: torch.Tensor,
    weight: torch.Tensor,
    smoothing: float,
) -> None:
    """Turn ``exp(x - max)`` into the slopes of the numerator by ``x``, in place.

    Args:
        flat: ``(rows, K, P)``; overwritten.
        ids: ``(rows, P)`` int64, the labels, any class where there is none.
        kept: ``(rows, P)`` bool, where there is one.
        share: ``(rows, P)``, ``w_y`` where there is one, else 0.
        total: ``(rows, P)``, ``flat``'s sums over the classes.
        weight: ``(K,)``, of the classes.
        smoothing: in 0..1.
    """
    true = (1 - smoothing) * share
    every = kept.to(flat.dtype) * (smoothing / len(weight))  # of each class, before its weight
    flat.mul_(((true + every * weight.sum()) / total)[:, None])
    flat.scatter_add_(1, ids[:, None], -true[:, None])
    if smoothing:
        flat.addcmul_(weight[:, None], every[:, None], value=-1)


def _true_class_probability(cells: Cells, source: torch.Tensor, labels: torch.Tensor, out: torch.Tensor) -> None:
    """Write the softmax of every labelled pixel's true class to ``out``, ``(H, W)``; elsewhere any number.

    ``source`` is ``(K, h * w)``, one image's logits, ``labels`` ``(H, W)``.
    """
    for part in cells.parts(len(source), _BLOCK, _labelled_cells(cells, labels)):
        pixels = part.pixels().flatten(1)
        flat = part.resize(source).flatten(2)
        flat.sub_(flat.amax(1, keepdim=True)).exp_()
        true = flat.gather(1, labels.take(pixels).clamp_(min=0)[:, None])[:, 0]
        out.view(-1).scatter_(0, pixels.flatten(), (true / flat.sum(1)).flatten())
