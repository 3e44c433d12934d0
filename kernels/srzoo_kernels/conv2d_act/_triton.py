"""A depthwise convolution with its bias and activation, and what follows any other convolution, in one pass."""

import torch
import triton
import triton.language as tl

from ..launch import Launch, Target
from ..layout import is_channels_last
from ..prepared.plan import launched
from .shapes import output_shape

# Of a depthwise convolution's program: rows, groups of four columns, channels, and threads, each of which then loads
# 128 bits. Timed fastest, or within a tenth of it, for every layer of EfficientNet-Lite0 at 1024x2048 on an H100.
_ROWS, _GROUPS, _CHANNELS, _THREADS = 4, 4, 32, 64
_BLOCK = 1024  # numbers of a program that goes over a whole map


@triton.jit
def _activated(x, ACTIVATION: tl.constexpr):
    """Not by minimum and maximum, which would turn NaN into a number."""
    if ACTIVATION != "identity":
        x = tl.where(x < 0, 0.0, x)
    if ACTIVATION == "relu6":
        x = tl.where(x > 6, 6.0, x)
    return x


@triton.jit
def depthwise_kernel(
    x,  # (N, H, W, C)
    weight,  # (K, K, C)
    bias,  # (C), if there is one
    y,  # (N, H', W', C)
    channels,
    h,
    w,
    height,
    width,
    top,
    left,
    across,  # tiles of a row
    blocks,  # of channels
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    DILATION: tl.constexpr,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    WITH_BIAS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """A tile of ``ROWS`` rows, ``GROUPS`` times four columns and ``CHANNELS`` channels, accumulated in float32.

    The four outputs of a group are ``DILATION`` apart, so that an input that was loaded serves up to four taps.
    """
    c = tl.program_id(0) % blocks * CHANNELS + tl.arange(0, CHANNELS)
    exists = c < channels
    tile = tl.program_id(0) // blocks
    image = tl.program_id(1).to(tl.int64)
    place = tl.arange(0, ROWS * GROUPS)
    row = tile // across * ROWS + place // GROUPS
    group = tile % across * GROUPS + place % GROUPS
    column = group // DILATION * (4 * DILATION) + group % DILATION
    source = x + image * h * w * channels

    a = tl.zeros((ROWS * GROUPS, CHANNELS), tl.float32)
    b = tl.zeros((ROWS * GROUPS, CHANNELS), tl.float32)
    e = tl.zeros((ROWS * GROUPS, CHANNELS), tl.float32)
    f = tl.zeros((ROWS * GROUPS, CHANNELS), tl.float32)
    for i in tl.static_range(K):
        at_row = row * STRIDE - top + i * DILATION
        row_inside = (at_row >= 0) & (at_row < h)
        for j in tl.static_range(3 * STRIDE + K):
            at_column = column * STRIDE - left + j * DILATION
            inside = row_inside & (at_column >= 0) & (at_column < w)
            here = ((at_row * w + at_column) * channels)[:, None] + c[None, :]
            value = tl.load(source + here, mask=inside[:, None] & exists[None, :], other=0.0).to(tl.float32)
            if j < K:
                tap = tl.load(weight + (i * K + j) * channels + c, mask=exists, other=0.0)
                a += value * tap.to(tl.float32)[None, :]
            if (j >= STRIDE) and (j < STRIDE + K):
                tap = tl.load(weight + (i * K + j - STRIDE) * channels + c, mask=exists, other=0.0)
                b += value * tap.to(tl.float32)[None, :]
            if (j >= 2 * STRIDE) and (j < 2 * STRIDE + K):
                tap = tl.load(weight + (i * K + j - 2 * STRIDE) * channels + c, mask=exists, other=0.0)
                e += value * tap.to(tl.float32)[None, :]
            if j >= 3 * STRIDE:
                tap = tl.load(weight + (i * K + j - 3 * STRIDE) * channels + c, mask=exists, other=0.0)
                f += value * tap.to(tl.float32)[None, :]
    if WITH_BIAS:
        added = tl.load(bias + c, mask=exists, other=0.0).to(tl.float32)[None, :]
        a += added
        b += added
        e += added
        f += added
    out = y + image * height * width * channels + ((row * width + column) * channels)[:, None] + c[None, :]
    step = DILATION * channels
    kept = (row < height)[:, None] & exists[None, :]
    dtype = y.dtype.element_ty
    tl.store(out, _activated(a, ACTIVATION).to(dtype), mask=kept & (column < width)[:, None])
    column += DILATION
    tl.store(out + step, _activated(b, ACTIVATION).to(dtype), mask=kept & (column < width)[:, None])
    column += DILATION
    tl.store(out + 2 * step, _activated(e, ACTIVATION).to(dtype), mask=kept & (column < width)[:, None])
    column += DILATION
    tl.store(out + 3 * step, _activated(f, ACTIVATION).to(dtype), mask=kept & (column < width)[:, None])


@triton.jit
def epilogue_kernel(
    y,  # a dense map, changed in place
    bias,  # (C)
    residual,  # of y's shape and strides
    total,
    channels,
    inner,  # numbers of a channel that lie next to each other: 1 where y is channels_last
    BLOCK: tl.constexpr,
    WITH_BIAS: tl.constexpr,
    WITH_RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """``activation(y + bias + residual)``, added in float32."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = i < total
    value = tl.load(y + i, mask=exists).to(tl.float32)
    if WITH_BIAS:
        value += tl.load(bias + i // inner % channels, mask=exists).to(tl.float32)
    if WITH_RESIDUAL:
        value += tl.load(residual + i, mask=exists).to(tl.float32)
    tl.store(y + i, _activated(value, ACTIVATION).to(y.dtype.element_ty), mask=exists)


def plan_depthwise(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int,
    padding: tuple[int, int, int, int],
    dilation: int,
    activation: str,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The launch that fills ``y``, for a channels_last ``x`` and a contiguous ``weight`` ``(k, k, C)``."""
    n, c, h, w = x.shape
    top, _, left, _ = padding
    shape = output_shape(x.shape, weight.shape, (stride,) * 2, padding, (dilation,) * 2, c)
    height, width = shape[2:]
    y = x.new_empty_strided(shape, (height * width * c, 1, width * c, c))
    groups = triton.cdiv(width, 4 * dilation) * dilation
    across, blocks = triton.cdiv(groups, _GROUPS), triton.cdiv(c, _CHANNELS)
    launch = Launch(
        depthwise_kernel,
        (blocks * across * triton.cdiv(height, _ROWS), n, 1),
        {"x": x, "weight": weight, "bias": y if bias is None else bias, "y": y, "channels": c, "h": h, "w": w}
        | {"height": height, "width": width, "top": top, "left": left, "across": across, "blocks": blocks},
        {"K": len(weight), "STRIDE": stride, "DILATION": dilation}
        | {"ROWS": _ROWS, "GROUPS": _GROUPS, "CHANNELS": _CHANNELS}
        | {"WITH_BIAS": bias is not None, "ACTIVATION": activation},
        warps=_THREADS // target.warp_size,
    )
    return [launch] if y.numel() else [], (y,)


def plan_epilogue(
    y: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    channels: int,
    inner: int,
    activation: str,
    target: Target,
) -> tuple[list[Launch], tuple[()]]:
    """The launch that changes ``y`` in place; it and ``residual`` are all numbers of a map, in their order."""
    total = len(y)
    launch = Launch(
        epilogue_kernel,
        (triton.cdiv(total, _BLOCK), 1, 1),
        {"y": y, "bias": y if bias is None else bias, "residual": y if residual is None else residual}
        | {"total": total, "channels": channels, "inner": inner},
        {"BLOCK": _BLOCK, "WITH_BIAS": bias is not None, "WITH_RESIDUAL": residual is not None}
        | {"ACTIVATION": activation},
        warps=4 if target.warp_size == 32 else 2,  # eight numbers a thread, which load 128 bits
    )
    return [launch] if total else [], ()


def depthwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *options: object) -> torch.Tensor:
    """Launch the kernel; operands and options as `plan_depthwise` has them."""
    return launched(plan_depthwise, (x, weight, bias), *options)[0]


def add_and_activate_(
    y: torch.Tensor, bias: torch.Tensor | None, residual: torch.Tensor | None, activation: str
) -> torch.Tensor:
    """A dense ``y``, changed in place; ``residual`` has its strides."""
    inner = 1 if is_channels_last(y) else y.shape[2] * y.shape[3]
    # Without their shape maps of one size share a plan.
    flat, other = (None if each is None else each.as_strided((each.numel(),), (1,)) for each in (y, residual))
    launched(plan_epilogue, (flat, bias, other), y.shape[1], inner, activation)
    return y
