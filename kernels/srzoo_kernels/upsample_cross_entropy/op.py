"""``srzoo::upsample_cross_entropy``: the loss at full resolution, and its gradient, from logits at the network's."""

import math

import torch
from torch.utils.flop_counter import register_flop_formula

from ..checks import check_logits, check_same_device
from ..launch import HAS_TRITON, interpreted
from ..layout import accumulation_dtype
from .cpu import upsample_cross_entropy_cpu
from .reference import upsample_cross_entropy as _library


@torch.library.custom_op("srzoo::upsample_cross_entropy", mutates_args=(), device_types="cuda")
def _upsample_cross_entropy(
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
    """The loss and, if asked for, its gradient by the logits (else an empty tensor)."""
    from ._triton import upsample_cross_entropy_triton as launch

    smoothing, threshold, min_kept = label_smoothing, ohem_threshold, ohem_min_kept
    return launch(logits, target, weight, ignore_index, smoothing, threshold, min_kept, align_corners, with_gradient)


@_upsample_cross_entropy.register_kernel("cpu")
def _(logits, target, *options):
    if interpreted():
        from ._triton import upsample_cross_entropy_triton

        return upsample_cross_entropy_triton(logits, target, *options)
    return upsample_cross_entropy_cpu(logits, target, *options)


@_upsample_cross_entropy.register_fake
def _(logits, target, weight, ignore_index, smoothing, ohem_threshold, ohem_min_kept, align_corners, with_gradient):
    dtype = accumulation_dtype(logits)
    gradient = torch.empty_like(logits if with_gradient else logits.new_empty(0), dtype=dtype)
    return logits.new_empty((), dtype=dtype), gradient


@torch.library.custom_op("srzoo::upsample_cross_entropy_backward", mutates_args=())
def _backward(grad_loss: torch.Tensor, gradient: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The saved gradient times the loss's. An op, and not a product, so that a second derivative is refused."""
    return (gradient * grad_loss).to(dtype)


@_backward.register_fake
def _(grad_loss, gradient, dtype):
    return torch.empty_like(gradient, dtype=dtype)


def _setup_context(ctx, inputs, output):
    ctx.dtype = inputs[0].dtype
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _autograd(ctx, grad_loss, _):
    return _backward(grad_loss, *ctx.saved_tensors, ctx.dtype), *[None] * 8


_upsample_cross_entropy.register_autograd(_autograd, setup_context=_setup_context)
_upsample_cross_entropy.register_autocast("cuda", torch.float32)
_upsample_cross_entropy.register_autocast("cpu", torch.float32)


@register_flop_formula(torch.ops.srzoo.upsample_cross_entropy)
def _flops(logits_shape, target_shape, *options, out_shape=None, **kwargs) -> int:
    """Per pixel and class: one linear interpolation (3 operations), and a maximum, a difference, an exponential and a
    sum; with the gradient two products for its value and four operations to sum it over a cell. What is shared
    between pixels, and cells without a label, are left out."""
    with_gradient = options[-1]
    return (13 if with_gradient else 7) * logits_shape[1] * math.prod(target_shape)


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
        ValueError: a shape, dtype, device or option does not fit, or a label is neither a class nor ``ignore_index``.
    """
    check_logits(logits)
    _check_target(logits, target)
    _check_options(logits, weight, label_smoothing, ohem)
    check_same_device(logits, target=target, weight=weight)
    if logits.is_cuda and not HAS_TRITON:
        dtype = accumulation_dtype(logits)
        weight = None if weight is None else weight.detach().to(dtype)
        return _library(logits.to(dtype), target, ignore_index, weight, label_smoothing, ohem, align_corners)
    threshold, min_kept = (None, 0) if ohem is None else ohem
    weight = None if weight is None else weight.detach()
    with_gradient = torch.is_grad_enabled() and logits.requires_grad
    return _upsample_cross_entropy(
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
    if weight is not None and (weight.shape != (k,) or not weight.is_floating_point()):
        raise ValueError(f"expected floating weight of shape ({k},), got {weight.dtype} of {tuple(weight.shape)}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in 0..1, got {label_smoothing}")
    if ohem is not None and (len(ohem) != 2 or not 0 <= ohem[0] <= 1 or ohem[1] < 0):
        raise ValueError(f"ohem must be (threshold in 0..1, min_kept >= 0), got {ohem}")
