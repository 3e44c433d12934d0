"""`conv2d_act` as an operator: a convolution, and what follows it without a pass over memory for each.

PyTorch's convolution on a GPU adds its bias in a pass of its own, which for a 1x1 layer takes longer than the layer.
cuDNN adds bias and residual and applies ReLU before it writes; where it cannot, one kernel does all three in place.
With all of cuDNN's single calls a ResNet-50 of stride 8 took 25 times as long on an H100, presumably for lack of a fast
engine, so the first of each kind is timed against the kernel. Its depthwise convolutions are slow, those with dilation
and a 5x5 kernel thirty times slower than memory allows.
"""

import math
from collections.abc import Callable

import torch
from torch import fx
from torch.nn import functional as F

from ..autocast import autocast_operands
from ..checks import check_feature_map, check_same_device, check_same_dtype
from ..launch import MOST_ELEMENTS, convolves_in_tf32, kernels_of, multiplies_in_tf32, triton_serves_batch
from ..layout import is_channels_last
from ..operators import is_transformed, register
from .reference import ACTIVATIONS, filters, padded
from .reference import conv2d_act as _library
from .shapes import output_shape

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_MOST_TAPS = 7  # along one side of a depthwise filter, of which the kernel unrolls all
_MOST_CHOICES = 4096
_choices: dict[tuple, bool] = {}  # of convolutions with bias and ReLU: whether cuDNN computes all of it in one call
_HEAD_START = 2_000_000  # cycles, about a millisecond: an idle GPU would wait for the host's part of what is timed
_TOO_SLOW = 1.5  # times the time of two calls; else the choice, and with it the rounding, would change from run to run


def serves_conv2d_act(x: torch.Tensor, *weights: torch.Tensor | None) -> bool:
    """Whether `conv2d_act` is faster than the library for ``x``: on a GPU with Triton, where no gradient is wanted.

    Not in a program that is exported or traced, which needs the library's operators alone.
    """
    if (
        isinstance(x, fx.Proxy)
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or x.dim() != 4
        or not triton_serves_batch(x)
        or x.dtype not in _DTYPES
    ):
        return False
    wanted = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in (x, *weights))
    return not (wanted or is_transformed())


def conv2d_act(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "identity",
    residual: torch.Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> torch.Tensor:
    """``activation(conv2d(x, weight) + bias + residual)``, with few passes over memory on a GPU.

    Under autocast computed in its dtype, as ``conv2d`` is. Not differentiable where `serves_conv2d_act` holds.

    Args:
        x: ``(N, C, H, W)``, floating; fast when channels_last.
        weight: ``(O, C / groups, kh, kw)``, or ``(kh, kw, C)``: one filter for each channel. Of ``x``'s dtype.
        bias: ``(O,)``, or None.
        activation: "identity", "relu" or "relu6".
        residual: of the result's shape, added before the activation, or None.
        stride, dilation: in pixels, for height and width.
        padding: zeros above, below, on the left and on the right.
        groups: as in ``conv2d``; not for a ``weight`` of one filter for each channel.

    Returns:
        ``(N, O, H', W')`` of ``x``'s dtype, as ``conv2d`` gives it for a padded ``x``.

    Raises:
        ValueError: another ``activation``, or a shape, a dtype or a device does not fit.
        RuntimeError: likewise, PyTorch's own, where `serves_conv2d_act` does not hold.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    x, weight, bias, residual = autocast_operands(x, weight, bias, residual)
    options = (activation, residual, stride, padding, dilation, groups)
    if not serves_conv2d_act(x, weight, bias, residual):
        return _library(x, weight, bias, *options)
    return _op(x, weight, bias, residual, activation, stride, padding, dilation, groups)


def _convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    activation: str,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> torch.Tensor:
    """Arguments as `conv2d_act` has them."""
    _check(x, weight, bias, residual, stride, padding, dilation, groups)
    bias = None if bias is None else bias.contiguous()
    if not triton_serves_batch(x):
        return _library(x, weight, bias, activation, residual, stride, padding, dilation, groups)
    if _is_for_the_kernel(x, weight, residual, stride, padding, dilation):
        depthwise = kernels_of(__package__).depthwise
        return depthwise(x, weight.contiguous(), bias, stride[0], tuple(padding), dilation[0], activation)
    if weight.dim() == 3:
        weight, groups = filters(weight), x.shape[1]
    x, outer = padded(x, padding)
    geometry = (stride, outer, dilation)
    if bias is not None and groups == 1:
        if activation == "relu" and x.is_cuda:
            y = _fast_by_cudnn(x, weight, bias, residual, *geometry)
            if y is not None:
                return y
        if activation == "identity" and residual is None and _is_product(x, weight, stride, outer):
            rows = torch.addmm(bias, x.permute(0, 2, 3, 1).flatten(0, 2), weight.flatten(1).t())
            return rows.unflatten(0, (x.shape[0], *x.shape[2:])).permute(0, 3, 1, 2)
    return _in_two(x, weight, bias, residual, activation, *geometry, groups)


def _in_two(x, weight, bias, residual, activation, stride, padding, dilation, groups) -> torch.Tensor:
    """By the library's convolution, and one kernel for what follows it."""
    y = F.conv2d(x, weight, None, stride, padding, dilation, groups)
    if bias is None and residual is None and activation == "identity":
        return y
    if residual is not None and residual.stride() != y.stride():
        residual = torch.empty_like(y).copy_(residual)
    if y.numel() >= MOST_ELEMENTS:
        y = y if bias is None else y.add_(bias[:, None, None])
        return ACTIVATIONS[activation](y if residual is None else y.add_(residual))
    return kernels_of(__package__).add_and_activate_(y, bias, residual, activation)


def _check(x, weight, bias, residual, stride, padding, dilation, groups) -> None:
    """Refuse what the kernels would read beyond.

    Raises:
        ValueError: a shape, a dtype or a device does not fit, or no output is left.
    """
    check_feature_map(x)
    shape = output_shape(x.shape, weight.shape, tuple(stride), tuple(padding), tuple(dilation), groups)
    if bias is not None and bias.shape != shape[1:2]:
        raise ValueError(f"expected bias of shape {shape[1:2]}, got {tuple(bias.shape)}")
    if residual is not None and residual.shape != shape:
        raise ValueError(f"expected residual of shape {shape}, got {tuple(residual.shape)}")
    check_same_dtype(x, *(each for each in (weight, bias, residual) if each is not None))
    check_same_device(x, weight=weight, bias=bias, residual=residual)


def _is_for_the_kernel(x, weight, residual, stride, padding, dilation) -> bool:
    """Whether it is a depthwise convolution of the kernel's kind."""
    if weight.dim() != 3 or residual is not None or not is_channels_last(x):
        return False
    (kernel, width, channels), (height_step, width_step), (rate, other_rate) = weight.shape, stride, dilation
    square = kernel == width and height_step == width_step and rate == other_rate
    usual = 1 < kernel <= _MOST_TAPS and height_step <= 2 and max(padding) <= rate * (kernel - 1)
    if not (square and usual):
        return False
    y = output_shape(x.shape, weight.shape, tuple(stride), tuple(padding), tuple(dilation), channels)
    return channels * max(x.shape[2] * x.shape[3], y[2] * y[3]) < MOST_ELEMENTS


def _is_product(x, weight, stride, padding) -> bool:
    """Whether it is a matrix at every pixel, which cuBLAS computes with a bias, in the precision of a convolution.

    A deterministic cuBLAS asks for an environment variable.
    """
    if convolves_in_tf32(x) != multiplies_in_tf32(x):
        return False
    plain = weight.shape[2:] == (1, 1) and tuple(stride) == (1, 1) and tuple(padding) == (0, 0)
    return plain and is_channels_last(x) and x.is_cuda and not torch.are_deterministic_algorithms_enabled()


def _fast_by_cudnn(x, weight, bias, residual, stride, padding, dilation) -> torch.Tensor | None:
    """`_by_cudnn`, or None where it has no engine or only a slow one."""
    cudnn = torch.backends.cudnn
    if torch.version.hip or not cudnn.enabled:
        return None
    if cudnn.deterministic or torch.are_deterministic_algorithms_enabled():  # these two do not look at it
        return None
    operands, geometry = (x, weight, bias, residual), (stride, padding, dilation)
    # Not by each size, as every image of a folder may have its own: by the power of two of the number of pixels.
    pixels = (x.shape[2] * x.shape[3]).bit_length()
    layout = is_channels_last(x), is_channels_last(weight), residual is None
    engines = cudnn.benchmark, convolves_in_tf32(x)
    key = (x.device, x.dtype, x.shape[0], pixels, weight.shape, *layout, *engines, *stride, *padding, *dilation)
    try:
        is_fast = _choices.get(key)
        if is_fast is None:
            with torch.cuda.device(x.device):
                if torch.cuda.is_current_stream_capturing():  # where nothing can be timed
                    return None
                one = _milliseconds(_by_cudnn, *operands, *geometry)
                is_fast = one <= _TOO_SLOW * _milliseconds(_in_two, *operands, "relu", *geometry, 1)
            if len(_choices) >= _MOST_CHOICES:
                _choices.clear()
            _choices[key] = is_fast
        return _by_cudnn(*operands, *geometry) if is_fast else None
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # no engine, as for some numbers of channels
        _choices[key] = False
        return None


def _by_cudnn(x, weight, bias, residual, stride, padding, dilation) -> torch.Tensor:
    """By cuDNN's convolution with bias, residual and ReLU. Raises RuntimeError if it has none."""
    geometry = (stride, padding, dilation, 1)
    if residual is None:
        return torch.cudnn_convolution_relu(x, weight, bias, *geometry)
    return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, *geometry)


def _milliseconds(call: Callable[..., torch.Tensor], *operands) -> float:
    """The shortest of three calls on the current GPU, after one that loads what it needs."""
    call(*operands)
    times = []
    for _ in range(3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(_HEAD_START)
        start.record()
        call(*operands)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)


def _fake(x, weight, bias, residual, activation, stride, padding, dilation, groups):
    return _library(x, weight, bias, activation, residual, stride, padding, dilation, groups)


def _flops(x_shape, weight_shape, *args, out_shape=None, **kwargs) -> int:
    """Two per multiply-add; bias, residual and activation are left out, as the library's counter does."""
    return 2 * math.prod(out_shape) * math.prod(weight_shape[:2] if len(weight_shape) == 3 else weight_shape[1:])


_op = register("conv2d_act", _convolve, fake=_fake, flops=_flops, detached=True)
