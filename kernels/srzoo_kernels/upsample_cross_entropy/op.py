"""`upsample_cross_entropy` as an operator: the loss at full resolution, and its gradient, from the network's logits."""

import math
from numbers import Integral, Real

import torch

from ..bilinear.tiles import triton_resizes
from ..checks import can_be_looked_at, check_logits, check_same_device, check_whole, is_floating
from ..launch import kernels_of
from ..layout import accumulation_dtype
from ..operators import is_transformed, register
from . import reference
from .cpu import upsample_cross_entropy_cpu
from .labels import check_labels
from .library import upsample_cross_entropy_library


def upsample_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    ignore_index: int = 255,
    weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    ohem: tuple[float, int] | None = None,
    align_corners: bool = False,
) -> torch.Tensor:
    """Return ``cross_entropy(interpolate(logits, (H, W)), target)`` without ``K`` planes at full resolution.

    The gradient is computed together with the loss, where ``logits`` need one, and saved at the logits' size. All in
    float32 (float64 for float64 logits); same input, same bits. Differentiable once.

    Args:
        logits: ``(N, K, h, w)``, any floating dtype, contiguous or channels_last.
        target: ``(N, H, W)`` class ids, int64 or uint8.
        ignore_index: the id of unlabelled pixels.
        weight: ``(K,)`` or None: of each class, as in ``torch.nn.functional.cross_entropy``. Gets no gradient.
        label_smoothing: in 0..1, likewise.
        ohem: ``(threshold, min_kept)``: learn only from the labelled pixels whose true class has a probability below
            ``threshold``, and from at least the ``min_kept`` of the batch with the lowest (all, if there are fewer).
            The rest counts as unlabelled.
        align_corners: as in ``torch.nn.functional.interpolate``.

    Returns:
        A scalar, the mean weighted by ``weight`` of the true classes, float32 or float64. Zero, with a gradient of
        zero, where no pixel is labelled (the library: NaN).

    Raises:
        ValueError: a shape, dtype, device or option does not fit. On a CPU also where a label is neither a class nor
            ``ignore_index``; on a GPU the loss and its gradient are NaN then, as looking would wait for the device, and
            `check_labels` tells which label it was.
    """
    check_logits(logits)
    _check_target(logits, target)
    _check_options(logits, weight, label_smoothing, ohem)
    check_whole(ignore_index=ignore_index)
    check_same_device(logits, target=target, weight=weight)
    weight = None if weight is None else weight.detach()
    if is_transformed():
        dtype = accumulation_dtype(logits)
        weight = None if weight is None else weight.to(dtype)
        return reference.upsample_cross_entropy(
            logits.to(dtype), target, ignore_index, weight, label_smoothing, ohem, align_corners
        )
    threshold, min_kept = (None, 0) if ohem is None else ohem
    with_gradient = torch.is_grad_enabled() and logits.requires_grad
    return _op(
        logits, target, weight, ignore_index, label_smoothing, threshold, min_kept, align_corners, with_gradient
    )[0]


def _check_target(logits: torch.Tensor, target: torch.Tensor) -> None:
    if target.dim() != 3 or target.shape[0] != logits.shape[0]:
        raise ValueError(f"expected target of shape ({logits.shape[0]}, H, W), got {tuple(target.shape)}")
    if target.shape[1] == 0 or target.shape[2] == 0:
        raise ValueError(f"target has no pixels: shape {tuple(target.shape)}")
    if target.dtype not in (torch.int64, torch.uint8):
        raise ValueError(f"expected target of int64 or uint8, got {target.dtype}")


def _check_options(logits, weight, label_smoothing, ohem) -> None:
    k = logits.shape[1]
    if weight is not None and (weight.shape != (k,) or not is_floating(weight)):
        raise ValueError(f"expected floating weight of shape ({k},), got {weight.dtype} of {tuple(weight.shape)}")
    if not isinstance(label_smoothing, Real) or not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in 0..1, got {label_smoothing!r}")
    threshold, min_kept = ohem if isinstance(ohem, (tuple, list)) and len(ohem) == 2 else (None, None)
    if ohem is not None and not (
        isinstance(threshold, Real)
        and 0 <= threshold <= 1
        and isinstance(min_kept, Integral)
        and 0 <= min_kept < 1 << 63
    ):
        raise ValueError(f"ohem must be (threshold in 0..1, min_kept in 0..2^63 - 1), got {ohem!r}")


def _loss(
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
    """The loss, ``()``, and, if asked for, its gradient by the logits, ``(N, K, h, w)``, else ``(0,)``.

    Both in float32, or in float64 for float64 logits. Without ``ohem_threshold`` every labelled pixel is learnt from.
    """
    if can_be_looked_at(target):
        check_labels(target, logits.shape[1], ignore_index)
    if triton_resizes(logits, target.shape[1]):
        compute = kernels_of(__package__).upsample_cross_entropy_triton
    elif logits.device.type != "cpu":  # a GPU without Triton, or another device
        compute = upsample_cross_entropy_library
    else:
        compute = upsample_cross_entropy_cpu
    smoothing, threshold, min_kept = label_smoothing, ohem_threshold, ohem_min_kept
    return compute(logits, target, weight, ignore_index, smoothing, threshold, min_kept, align_corners, with_gradient)


def _fake(logits, target, weight, ignore_index, smoothing, ohem_threshold, ohem_min_kept, align_corners, with_gradient):
    dtype = accumulation_dtype(logits)
    gradient = torch.empty_like(logits if with_gradient else logits.new_empty(0), dtype=dtype)
    return logits.new_empty((), dtype=dtype), gradient


def _scaled(grad_loss: torch.Tensor, gradient: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The saved gradient times the loss's. An operator, and not a product, so that a second derivative is refused."""
    return torch.mul(gradient, grad_loss, out=torch.empty_like(gradient, dtype=dtype))  # rounded as it is written


def _save(ctx, inputs, output):
    ctx.dtype = inputs[0].dtype
    # Not marked as non-differentiable: a second derivative would get no gradient through it, and no error.
    ctx.save_for_backward(output[1])
    ctx.set_materialize_grads(False)  # which would fill a map of zeros for that output


def _differentiate(ctx, grad_loss, _):
    if grad_loss is None:
        return (None,) * 9
    return _gradient_op(grad_loss, *ctx.saved_tensors, ctx.dtype), *[None] * 8


def _flops(logits_shape, target_shape, *options, out_shape=None, **kwargs) -> int:
    """Per pixel and class: one linear interpolation (3 operations), and a maximum, a difference, an exponential and a
    sum; with the gradient two products for its value and four operations to sum it over a cell. What is shared
    between pixels, and cells without a label, are left out."""
    with_gradient = options[-1]
    return (13 if with_gradient else 7) * logits_shape[1] * math.prod(target_shape)


_gradient_op = register(
    "upsample_cross_entropy_backward",
    _scaled,
    fake=lambda grad_loss, gradient, dtype: torch.empty_like(gradient, dtype=dtype),
)
_op = register(
    "upsample_cross_entropy",
    _loss,
    fake=_fake,
    flops=_flops,
    save=_save,
    backward=_differentiate,
)
