"""The block without a gradient in four launches, and the weights it is folded into in three.

``S = X X^T`` by split of the pixels (`pixel_product_kernel`); what every tile of ``S`` gives to the squeezed vector
``g``; ``z`` of it and ``M = W_R diag(z) W_t``; ``X + M X`` (`channel_map_kernel`). Between them lie a second stage of
`gram`, the reasoning and eight operations of PyTorch, each of which takes longer to launch than to compute. No atomics:
all sums are in a fixed order, so the same input gives the same bits.
"""

import torch
import triton
import triton.language as tl

from ..launch import INTERPRETER, Launch, Target, precision
from ..layout import dense, empty_map
from ..prepared.plan import launched
from ..products._triton import multiply_add, plan_channel_map, plan_pixel_product, upper_tile
from ..products.blocks import upper_tiles
from .checks import check_block, check_folded

SQUEEZE_TILE = 32  # side of a tile of S; of 64 there would be too few programs for a GPU at 512 channels
SQUEEZE_ROWS = 64  # of the reduced channels at a time
MAP_TILE = 64
_SHARE_NUMBERS = 4096  # of the shares that a program adds up at a time


@triton.jit
def squeeze_kernel(
    parts,  # (splits, N, C, C) float32, upper tiles only
    transform,  # (R, C)
    pair,  # (R, C), of the same dtype
    shares,  # (N, tiles, R) float32
    images,
    channels,
    reduced,
    splits,
    scale: tl.float32,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Sum the splits of one tile of ``S``, in their order, and what the tile and its mirror image give to ``g``.

    ``g_r = scale sum_ij t_ri S_ij b_rj`` with the rows ``t_r`` of ``W_t`` and ``b_r`` of ``W_p``.
    """
    tile = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    row, column = upper_tile(tile, tl.cdiv(channels, TILE))
    i = row * TILE + tl.arange(0, TILE)
    j = column * TILE + tl.arange(0, TILE)
    i_exists, j_exists = i < channels, j < channels
    inside = i_exists[:, None] & j_exists[None, :]
    offsets = i[:, None] * channels + j[None, :]
    s = tl.zeros((TILE, TILE), tl.float32)
    for split in tl.range(0, splits, num_stages=4):
        here = parts + (split * images + image) * channels * channels
        s += tl.load(here + offsets, mask=inside, other=0.0)
    s *= scale
    out = shares + (image * tl.num_programs(0) + tile) * reduced
    for start in range(0, reduced, ROWS):
        r = start + tl.arange(0, ROWS)
        exists = r < reduced
        at_i, at_j = r[:, None] * channels + i[None, :], r[:, None] * channels + j[None, :]
        i_inside, j_inside = exists[:, None] & i_exists[None, :], exists[:, None] & j_exists[None, :]
        t_i = tl.load(transform + at_i, mask=i_inside, other=0.0).to(tl.float32)
        b_j = tl.load(pair + at_j, mask=j_inside, other=0.0).to(tl.float32)
        g = tl.sum(tl.dot(t_i, s, input_precision=PRECISION) * b_j, 1)
        if row != column:
            b_i = tl.load(pair + at_i, mask=i_inside, other=0.0).to(tl.float32)
            t_j = tl.load(transform + at_j, mask=j_inside, other=0.0).to(tl.float32)
            g += tl.sum(tl.dot(b_i, s, input_precision=PRECISION) * t_j, 1)
        tl.store(out + r, g, mask=exists)


@triton.jit
def reason_map_kernel(
    shares,  # (N, tiles, R) float32
    adjacency,  # (k, k)
    weight,  # (d, d)
    left,  # (rows, R)
    transform,  # (R, C), of left's dtype
    base,  # rows x C, with the strides below
    out,  # (N, rows x C), likewise
    tiles,
    rows,
    channels,
    k,
    d,
    taps,
    output_stride,
    tap_stride,
    channel_stride,
    NODES: tl.constexpr,
    DIM: tl.constexpr,
    CHUNK: tl.constexpr,
    TILE: tl.constexpr,
    WITH_BASE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``z = relu((I - A)^T G W^T)``, and one tile of ``left diag(z) W_t``, plus ``base`` if there is one.

    Every program adds up the shares and reasons: with 16 nodes of 16 channels that takes less time than a launch. A
    node's channels are one step of the product, so that ``z`` never leaves the registers. Row ``taps * o + t`` of the
    result begins at ``o * output_stride + t * tap_stride``.
    """
    image = tl.program_id(1).to(tl.int64)
    across = tl.cdiv(channels, TILE)
    row = tl.program_id(0) // across * TILE + tl.arange(0, TILE)
    column = tl.program_id(0) % across * TILE + tl.arange(0, TILE)
    row_exists, column_exists = row < rows, column < channels
    node, feature = tl.arange(0, NODES), tl.arange(0, DIM)
    exists = (node < k)[:, None] & (feature < d)[None, :]
    place = node[:, None] * d + feature[None, :]

    nodes = tl.zeros((NODES, DIM), tl.float32)
    for start in tl.range(0, tiles, CHUNK, num_stages=3):
        tile = start + tl.arange(0, CHUNK)
        here = shares + (image * tiles + tile)[:, None, None] * (k * d) + place[None, :, :]
        nodes += tl.sum(tl.load(here, mask=(tile < tiles)[:, None, None] & exists[None, :, :], other=0.0), 0)
    edges = (node < k)[:, None] & (node < k)[None, :]
    a = tl.load(adjacency + node[:, None] * k + node[None, :], mask=edges, other=0.0).to(tl.float32)
    square = (feature < d)[:, None] & (feature < d)[None, :]
    w = tl.load(weight + feature[:, None] * d + feature[None, :], mask=square, other=0.0).to(tl.float32)
    mixed = nodes - tl.dot(tl.trans(a), nodes, input_precision="ieee")
    z = tl.dot(mixed, tl.trans(w), input_precision="ieee")
    z = tl.where(z < 0, 0.0, z)  # not a maximum, which would turn NaN into 0

    inside = row_exists[:, None] & column_exists[None, :]
    at = (row // taps * output_stride + row % taps * tap_stride)[:, None] + column[None, :] * channel_stride
    total = tl.zeros((TILE, TILE), tl.float32)
    if WITH_BASE:
        total += tl.load(base + at, mask=inside, other=0.0).to(tl.float32)
    for i in range(k):
        r = i * d + feature
        r_exists = feature < d
        factors = tl.load(
            left + row[:, None] * (k * d) + r[None, :], mask=row_exists[:, None] & r_exists[None, :], other=0.0
        )
        others = tl.load(
            transform + r[:, None] * channels + column[None, :],
            mask=r_exists[:, None] & column_exists[None, :],
            other=0.0,
        )
        scale = tl.sum(tl.where((node == i)[:, None], z, 0.0), 0)
        factors = (factors.to(tl.float32) * scale[None, :]).to(others.dtype)
        total = multiply_add(factors, others, total, PRECISION)
    tl.store(out + image * rows * channels + at, total.to(out.dtype.element_ty), mask=inside)


def _small_precision(x: torch.Tensor, target: Target) -> str:
    """Of the products of matrices that have no pixels: float32's own, by three of TF32 where there are those."""
    if x.dtype != torch.float32 or target is INTERPRETER or target.backend != "cuda":
        return precision(x) if x.dtype == torch.bfloat16 else "ieee"
    return "tf32x3"


def plan_squeeze(
    parts: torch.Tensor, transform: torch.Tensor, pair: torch.Tensor, pixels: int, target: Target
) -> tuple[Launch, torch.Tensor]:
    """The launch from `plan_pixel_product`'s parts to the tiles' shares of ``g``, ``(N, tiles, R)``."""
    splits, n, c, _ = parts.shape
    reduced, tiles = transform.shape[0], upper_tiles(c, SQUEEZE_TILE)
    shares = parts.new_empty(n, tiles, reduced)
    launch = Launch(
        squeeze_kernel,
        (tiles, n, 1),
        {"parts": parts, "transform": transform, "pair": pair, "shares": shares}
        | {"images": n, "channels": c, "reduced": reduced, "splits": splits, "scale": 1 / pixels},
        {"TILE": SQUEEZE_TILE, "ROWS": SQUEEZE_ROWS, "PRECISION": _small_precision(parts, target)},
        warps=4 if target.warp_size == 32 else 2,
    )
    return launch, shares


def plan_reason_map(
    shares: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    left: torch.Tensor,
    transform: torch.Tensor,
    out: torch.Tensor,
    target: Target,
    base: torch.Tensor | None = None,
) -> Launch:
    """The launch that fills ``out`` ``(N, O, C, kh, kw)``, given ``left`` ``(O kh kw, R)``.

    ``base`` and every image of ``out`` have the same strides.
    """
    n, tiles, _ = shares.shape
    k, d = len(adjacency), len(weight)
    _, outputs, c, height, width = out.shape
    rows = outputs * height * width
    nodes, dim = max(16, triton.next_power_of_2(k)), max(16, triton.next_power_of_2(d))
    return Launch(
        reason_map_kernel,
        (triton.cdiv(rows, MAP_TILE) * triton.cdiv(c, MAP_TILE), n, 1),
        {"shares": shares, "adjacency": adjacency, "weight": weight, "left": left, "transform": transform}
        | {"base": out if base is None else base, "out": out, "tiles": tiles, "rows": rows, "channels": c}
        | {"k": k, "d": d, "taps": height * width}
        | {"output_stride": out.stride(1), "tap_stride": out.stride(4), "channel_stride": out.stride(2)},
        {"NODES": nodes, "DIM": dim, "CHUNK": max(1, min(16, _SHARE_NUMBERS // (nodes * dim))), "TILE": MAP_TILE}
        | {"WITH_BASE": base is not None, "PRECISION": _small_precision(transform, target)},
        warps=4 if target.warp_size == 32 else 2,
    )


def plan_squeeze_reasoning(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The four launches that fill ``y``, for a dense ``x`` and contiguous weights."""
    check_block(x, transform, pair, project, adjacency, weight)
    n, c, h, w = x.shape
    product, parts, _ = plan_pixel_product(x, x, target, symmetric=True, with_sums=False)
    squeeze, shares = plan_squeeze(parts, transform, pair, h * w, target)
    matrix, y = x.new_empty(n, c, c, 1, 1), empty_map(x)
    reason = plan_reason_map(shares, adjacency, weight, project, transform, matrix, target)
    affine = plan_channel_map(x, matrix.view(n, c, c), y, target, residual=True)
    return [product, squeeze, reason, affine], (y,)


def plan_squeeze_reasoning_weights(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    projected: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    base: torch.Tensor,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The three launches that fill a convolution's weights, for a dense ``x``, contiguous weights, a dense ``base``."""
    check_folded(x, transform, pair, projected, adjacency, weight, base)
    n, _, h, w = x.shape
    product, parts, _ = plan_pixel_product(x, x, target, symmetric=True, with_sums=False)
    squeeze, shares = plan_squeeze(parts, transform, pair, h * w, target)
    out = torch.empty_strided((n, *base.shape), (base.numel(), *base.stride()), dtype=x.dtype, device=x.device)
    reason = plan_reason_map(shares, adjacency, weight, projected, transform, out, target, base)
    return [product, squeeze, reason], (out,)


def _block_laid_out(x: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return dense(x), *(each.contiguous() for each in weights)


def _folded_laid_out(x: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return *_block_laid_out(x, *weights[:-1]), dense(weights[-1])


def squeeze_reasoning(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """``y`` of ``(x, transform, pair, project, adjacency, weight)``; see ``op.py``."""
    return launched(plan_squeeze_reasoning, (x, *weights), laid_out=_block_laid_out)[0]


def squeeze_reasoning_weights(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """``V + V M`` of ``(x, transform, pair, projected, adjacency, weight, base)``; see ``op.py``."""
    return launched(plan_squeeze_reasoning_weights, (x, *weights), laid_out=_folded_laid_out)[0]
