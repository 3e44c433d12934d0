"""The loss and its gradient through logits at full resolution, for a GPU without Triton."""

import torch
from torch.nn import functional as F

from ..layout import accumulation_dtype
from .labels import IGNORED, hard_pixels, ids_and_wrong


def upsample_cross_entropy_library(
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
    """The operator in PyTorch's own operations; arguments and results as `op._loss` has them.

    The gradient is written out, as autograd does not reach into an operator. PyTorch has no deterministic gradient of
    the resize on a GPU, and says so under ``torch.use_deterministic_algorithms``.
    """
    k, dtype = logits.shape[1], accumulation_dtype(logits)
    ids, wrong = ids_and_wrong(target, k, ignore_index)
    weight = logits.new_ones(k, dtype=dtype) if weight is None else weight.to(dtype)
    full = F.interpolate(logits.to(dtype), ids.shape[1:], mode="bilinear", align_corners=align_corners)
    logarithms = full.log_softmax(1)  # (N, K, H, W)
    classes = ids.clamp(min=0)[:, None]  # (N, 1, H, W), as are those below
    if ohem_threshold is not None:
        probability = logarithms.gather(1, classes)[:, 0].exp()
        ids = ids.where(hard_pixels(probability, ids != IGNORED, ohem_threshold, ohem_min_kept), IGNORED)
    kept = (ids != IGNORED)[:, None]
    true = weight[classes] * kept
    # The loss is -sum(shares * logarithms) / sum(true).
    shares = label_smoothing / k * weight[:, None, None] * kept
    shares = shares.scatter_add(1, classes, (1 - label_smoothing) * true)
    divisor = true.sum().masked_fill(wrong.any(), float("nan"))
    loss = torch.where(divisor == 0, 0.0, -(shares * logarithms).sum() / divisor)
    if not with_gradient:
        return loss, logits.new_empty(0, dtype=dtype)
    slope = logarithms.exp_() * shares.sum(1, keepdim=True) - shares
    slope = torch.where(divisor == 0, 0.0, slope / divisor)
    gradient = torch.ops.aten.upsample_bilinear2d_backward(slope, full.shape[2:], logits.shape, align_corners)
    return loss, torch.empty_like(logits, dtype=dtype).copy_(gradient)
