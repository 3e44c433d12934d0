"""The block in five launches, the weights it is folded into in four, and the map's gradient in two.

``S = X X^T`` by split of the pixels (`pixel_product_kernel`); what every tile of ``S`` gives to the squeezed vector
``g``; ``z`` of it; ``M = W_R diag(z) W_t``; ``X + M X`` (`channel_map_kernel`). Separate operators would add a second
stage of `gram` and eight operations of PyTorch, each of which takes longer to launch than to compute. No atomics: all
sums are in a fixed order, so the same input gives the same bits.

Without a gradient the last launch is, in half precision, a product ``(I + M) X`` of cuBLAS: `channel_map_kernel` took
42.6 us for 512 channels of 128x256 on an H100, cuBLAS 33.0. The identity is added in float32 before ``M`` is rounded,
and ``M = 0`` leaves ``X`` as it is.
"""

import torch
import triton
import triton.language as tl

from ..launch import INTERPRETER, Launch, Target, precision
from ..layout import dense, empty_map, is_channels_last
from ..prepared.plan import launched
from ..products._triton import multiply_add, plan_channel_map, plan_pixel_product, upper_tile
from ..products.blocks import product_blocks, upper_tiles
from ..products.library import scaled
from .checks import check_block, check_folded

SQUEEZE_TILE = 32  # side of a tile of S; of 64 there would be too few programs for a GPU at 512 channels
SQUEEZE_ROWS = 64  # of the reduced channels at a time
_SHARE_NUMBERS = 8192  # of the shares that a program loads at a time


@triton.jit
def squeeze_kernel(
    parts,  # (splits, N, C, C) float32, upper tiles only
    transform,  # (R, C)
    pair,  # (R, C), of the same dtype
    shares,  # (N, tiles, R) float32
    second,  # (N, C, C) float32
    images,
    channels,
    reduced,
    splits,
    scale: tl.float32,
    WITH_SECOND: tl.constexpr,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Sum the splits of one tile of ``S``, in their order, and what the tile and its mirror image give to ``g``.

    ``g_r = sum_ij t_ri S_ij b_rj`` with the rows ``t_r`` of ``W_t`` and ``b_r`` of ``W_p``, and ``scale`` in ``S``,
    which is also written out for ``WITH_SECOND``.
    """
    tile = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    row, column = upper_tile(tile, tl.cdiv(channels, TILE))
    # Said because Triton 3.6 loses it between pipelining the loads below and lowering them, and fails to compile.
    i = tl.multiple_of(row * TILE, TILE) + tl.arange(0, TILE)
    j = tl.multiple_of(column * TILE, TILE) + tl.arange(0, TILE)
    i_exists, j_exists = i < channels, j < channels
    inside = i_exists[:, None] & j_exists[None, :]
    offsets = i[:, None] * channels + j[None, :]
    s = tl.zeros((TILE, TILE), tl.float32)
    for split in tl.range(0, splits, num_stages=4):
        here = parts + (split * images + image) * channels * channels
        s += tl.load(here + offsets, mask=inside, other=0.0)
    s *= scale
    if WITH_SECOND:
        here = second + image * channels * channels
        tl.store(here + offsets, s, mask=inside)
        if row != column:
            tl.store(here + j[None, :] * channels + i[:, None], s, mask=inside)
    out = shares + (image * tl.num_programs(0) + tile) * reduced
    for start in tl.range(0, reduced, ROWS, num_stages=3):
        r = start + tl.arange(0, ROWS)
        exists = r < reduced
        at_i, at_j = r[:, None] * channels + i[None, :], r[:, None] * channels + j[None, :]
        i_inside, j_inside = exists[:, None] & i_exists[None, :], exists[:, None] & j_exists[None, :]
        t_i = tl.load(transform + at_i, mask=i_inside, other=0.0).to(tl.float32)
        b_j = tl.load(pair + at_j, mask=j_inside, other=0.0).to(tl.float32)
        b_i = tl.load(pair + at_i, mask=i_inside, other=0.0).to(tl.float32)
        t_j = tl.load(transform + at_j, mask=j_inside, other=0.0).to(tl.float32)
        g = tl.sum(tl.dot(t_i, s, input_precision=PRECISION) * b_j, 1)
        mirrored = tl.sum(tl.dot(b_i, s, input_precision=PRECISION) * t_j, 1)
        # A choice and not a branch, which would keep its loads out of the pipeline.
        g += tl.where(row != column, mirrored, 0.0)
        tl.store(out + r, g, mask=exists)


@triton.jit
def reason_kernel(
    shares,  # (N, tiles, R) float32
    adjacency,  # (k, k)
    weight,  # (d, d)
    g,  # (N, R) float32
    z,  # (N, R) float32
    tiles,
    k,
    d,
    WITH_G: tl.constexpr,
    NODES: tl.constexpr,
    DIM: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """``z = relu((I - A)^T G W^T)`` of one image, with ``G`` the sum of the tiles' shares, in a fixed order.

    ``G`` is written out for ``WITH_G``.
    """
    image = tl.program_id(0).to(tl.int64)
    node, feature = tl.arange(0, NODES), tl.arange(0, DIM)
    exists = (node < k)[:, None] & (feature < d)[None, :]
    place = node[:, None] * d + feature[None, :]

    sums = tl.zeros((CHUNK, NODES, DIM), tl.float32)  # of every CHUNK-th tile: a thread adds up what it loads
    for start in tl.range(0, tiles, CHUNK, num_stages=3):
        tile = start + tl.arange(0, CHUNK)
        here = shares + (image * tiles + tile)[:, None, None] * (k * d) + place[None, :, :]
        sums += tl.load(here, mask=(tile < tiles)[:, None, None] & exists[None, :, :], other=0.0)
    nodes = tl.sum(sums, 0)
    if WITH_G:
        tl.store(g + image * (k * d) + place, nodes, mask=exists)
    edges = (node < k)[:, None] & (node < k)[None, :]
    a = tl.load(adjacency + node[:, None] * k + node[None, :], mask=edges, other=0.0).to(tl.float32)
    square = (feature < d)[:, None] & (feature < d)[None, :]
    w = tl.load(weight + feature[:, None] * d + feature[None, :], mask=square, other=0.0).to(tl.float32)
    mixed = nodes - tl.dot(tl.trans(a), nodes, input_precision="ieee")
    reasoned = tl.dot(mixed, tl.trans(w), input_precision="ieee")
    reasoned = tl.where(reasoned < 0, 0.0, reasoned)  # not a maximum, which would turn NaN into 0
    tl.store(z + image * (k * d) + place, reasoned, mask=exists)


@triton.jit
def map_kernel(
    z,  # (N, R) float32
    left,  # (rows, R)
    transform,  # (R, C), of left's dtype
    base,  # rows x C, with the strides below
    out,  # (N, rows x C), likewise
    rows,
    channels,
    reduced,
    taps,
    output_stride,
    tap_stride,
    channel_stride,
    WITH_BASE: tl.constexpr,
    WITH_IDENTITY: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of ``left diag(z) W_t``, plus ``base`` or the identity where they are asked for.

    Row ``taps * o + t`` of the result begins at ``o * output_stride + t * tap_stride``.
    """
    image = tl.program_id(1).to(tl.int64)
    across = tl.cdiv(channels, TILE)
    row = tl.program_id(0) // across * TILE + tl.arange(0, TILE)
    column = tl.program_id(0) % across * TILE + tl.arange(0, TILE)
    row_exists, column_exists = (row < rows)[:, None], (column < channels)[None, :]
    left_rows, transform_columns = left + row[:, None] * reduced, transform + column[None, :]
    total = tl.zeros((TILE, TILE), tl.float32)
    for step in range(tl.cdiv(reduced, DEPTH)):
        r = step * DEPTH + tl.arange(0, DEPTH)
        exists = r < reduced
        factors = tl.load(left_rows + r[None, :], mask=row_exists & exists[None, :], other=0.0)
        others = tl.load(transform_columns + r[:, None] * channels, mask=exists[:, None] & column_exists, other=0.0)
        scale = tl.load(z + image * reduced + r, mask=exists, other=0.0)
        factors = (factors.to(tl.float32) * scale[None, :]).to(others.dtype)
        total = multiply_add(factors, others, total, PRECISION)
    at = (row // taps * output_stride + row % taps * tap_stride)[:, None] + column[None, :] * channel_stride
    inside = row_exists & column_exists
    if WITH_BASE:
        total += tl.load(base + at, mask=inside, other=0.0).to(tl.float32)
    if WITH_IDENTITY:
        total += tl.where(row[:, None] == column[None, :], 1.0, 0.0)
    tl.store(out + image * rows * channels + at, total.to(out.dtype.element_ty), mask=inside)


def _small_precision(x: torch.Tensor, target: Target) -> str:
    """Of the products of matrices that have no pixels: float32's own, by three of TF32 where there are those."""
    if x.dtype != torch.float32 or target is INTERPRETER or target.backend != "cuda":
        return precision(x) if x.dtype == torch.bfloat16 else "ieee"
    return "tf32x3"


def plan_squeeze(
    parts: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    pixels: int,
    target: Target,
    second: torch.Tensor | None = None,
) -> tuple[Launch, torch.Tensor]:
    """The launch from `plan_pixel_product`'s parts to the tiles' shares of ``g``, ``(N, tiles, R)``.

    It also fills ``second`` ``(N, C, C)`` float32 with the mean ``X X^T / HW``, if there is one.
    """
    splits, n, c, _ = parts.shape
    reduced, tiles = transform.shape[0], upper_tiles(c, SQUEEZE_TILE)
    shares = parts.new_empty(n, tiles, reduced)
    launch = Launch(
        squeeze_kernel,
        (tiles, n, 1),
        {"parts": parts, "transform": transform, "pair": pair, "shares": shares}
        | {"second": shares if second is None else second}  # a pointer that is never followed
        | {"images": n, "channels": c, "reduced": reduced, "splits": splits, "scale": 1 / pixels},
        {
            "WITH_SECOND": second is not None,
            "TILE": SQUEEZE_TILE,
            "ROWS": SQUEEZE_ROWS,
            "PRECISION": _small_precision(parts, target),
        },
        warps=4 if target.warp_size == 32 else 2,
    )
    return launch, shares


def plan_reason(
    shares: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    target: Target,
    g: torch.Tensor | None = None,
) -> tuple[Launch, torch.Tensor]:
    """The launch from `plan_squeeze`'s shares to ``z``, ``(N, R)``; it also fills ``g``, likewise, if there is one."""
    n, tiles, reduced = shares.shape
    k, d = len(adjacency), len(weight)
    nodes, dim = max(16, triton.next_power_of_2(k)), max(16, triton.next_power_of_2(d))
    z = shares.new_empty(n, reduced)
    launch = Launch(
        reason_kernel,
        (n, 1, 1),
        {"shares": shares, "adjacency": adjacency, "weight": weight, "g": z if g is None else g, "z": z}
        | {"tiles": tiles, "k": k, "d": d},
        {"WITH_G": g is not None, "NODES": nodes, "DIM": dim, "CHUNK": max(1, _SHARE_NUMBERS // (nodes * dim))},
        warps=8 if target.warp_size == 32 else 4,
    )
    return launch, z


def plan_map(
    z: torch.Tensor,
    left: torch.Tensor,
    transform: torch.Tensor,
    out: torch.Tensor,
    target: Target,
    base: torch.Tensor | None = None,
    identity: bool = False,
) -> Launch:
    """The launch that fills ``out`` ``(N, O, C, kh, kw)``, given ``left`` ``(O kh kw, R)``.

    ``base`` and every image of ``out`` have the same strides.
    """
    n, outputs, c, height, width = out.shape
    rows, reduced = outputs * height * width, transform.shape[0]
    tile = _map_side(rows, c, n, transform.dtype, target)
    kind = _small_precision(transform, target)
    blocks = product_blocks(tile, tile, transform.dtype, kind, target)
    return Launch(
        map_kernel,
        (triton.cdiv(rows, tile) * triton.cdiv(c, tile), n, 1),
        {"z": z, "left": left, "transform": transform, "base": out if base is None else base, "out": out}
        | {"rows": rows, "channels": c, "reduced": reduced, "taps": height * width}
        | {"output_stride": out.stride(1), "tap_stride": out.stride(4), "channel_stride": out.stride(2)},
        {"WITH_BASE": base is not None, "WITH_IDENTITY": identity, "TILE": tile}
        | {"DEPTH": min(blocks.depth, max(16, triton.next_power_of_2(reduced))), "PRECISION": kind},
        8 if target.warp_size == 32 else 4,  # with 4 warps, code for a B200 spills
        blocks.stages,
    )


def _map_side(rows: int, channels: int, images: int, dtype: torch.dtype, target: Target) -> int:
    """Side of `map_kernel`'s tiles: the larger one only where as many of them as there are processors remain."""
    tiles = images * triton.cdiv(rows, 128) * triton.cdiv(channels, 128)
    return 128 if tiles >= target.processors and dtype != torch.float32 else 64  # an A100 would spill in float32


def _plan_reasoned(
    x, transform, pair, adjacency, weight, target: Target, second=None, g=None
) -> tuple[list[Launch], torch.Tensor]:
    """The three launches that fill ``z``, and those of ``second`` and ``g`` that there are."""
    product, parts, _ = plan_pixel_product(x, x, target, symmetric=True, with_sums=False)
    squeeze, shares = plan_squeeze(parts, transform, pair, x.shape[2] * x.shape[3], target, second)
    reason, z = plan_reason(shares, adjacency, weight, target, g)
    return [product, squeeze, reason], z


def plan_block_matrix(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    identity: bool,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The four launches that fill ``M`` ``(N, C, C)``, or ``I + M``, for a dense ``x`` and contiguous weights."""
    check_block(x, transform, pair, project, adjacency, weight)
    n, c = x.shape[:2]
    launches, z = _plan_reasoned(x, transform, pair, adjacency, weight, target)
    matrix = x.new_empty(n, c, c)
    applied = plan_map(z, project, transform, matrix.view(n, c, c, 1, 1), target, identity=identity)
    return [*launches, applied], (matrix,)


def plan_squeeze_reasoning(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The five launches that fill ``y``, for a dense ``x`` and contiguous weights."""
    launches, (matrix,) = plan_block_matrix(x, transform, pair, project, adjacency, weight, False, target)
    y = empty_map(x)
    return [*launches, plan_channel_map(x, matrix, y, target, base=x)], (y,)


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
    """The four launches that fill a convolution's weights, for a dense ``x``, contiguous weights, a dense ``base``."""
    check_folded(x, transform, pair, projected, adjacency, weight, base)
    launches, z = _plan_reasoned(x, transform, pair, adjacency, weight, target)
    out = x.new_empty_strided((x.shape[0], *base.shape), (base.numel(), *base.stride()))
    return [*launches, plan_map(z, projected, transform, out, target, base)], (out,)


def plan_training(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor, ...]]:
    """The five launches that fill ``y``, and what a gradient needs: the mean ``X X^T / HW``, ``g``, ``z`` and ``M``."""
    check_block(x, transform, pair, project, adjacency, weight)
    n, c = x.shape[:2]
    second, g = (x.new_empty(shape, dtype=torch.float32) for shape in ((n, c, c), (n, transform.shape[0])))
    launches, z = _plan_reasoned(x, transform, pair, adjacency, weight, target, second, g)
    matrix, y = x.new_empty(n, c, c), empty_map(x)
    applied = plan_map(z, project, transform, matrix.view(n, c, c, 1, 1), target)
    return [*launches, applied, plan_channel_map(x, matrix, y, target, base=x)], (y, second, g, z, matrix)


def plan_map_gradient(
    grad: torch.Tensor,
    x: torch.Tensor,
    matrix: torch.Tensor,
    symmetric: torch.Tensor,
    scale: torch.Tensor | None,
    target: Target,
) -> tuple[list[Launch], tuple[torch.Tensor]]:
    """The two launches that fill ``dY + M^T dY + scale S X``, for dense maps that lie alike."""
    out = empty_map(x)
    through = plan_channel_map(grad, matrix.mT, out, target, base=grad)
    return [through, plan_channel_map(x, symmetric, out, target, scale=scale, base=out)], (out,)


def _block_laid_out(x: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return dense(x), *(each.contiguous() for each in weights)


def _folded_laid_out(x: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return *_block_laid_out(x, *weights[:-1]), dense(weights[-1])


def squeeze_reasoning(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """``y`` of ``(x, transform, pair, project, adjacency, weight)``; see ``op.py``."""
    # For float32 the residual is added in its own precision, whatever TF32 is allowed. A deterministic cuBLAS asks for
    # an environment variable.
    if x.dtype is torch.float32 or torch.are_deterministic_algorithms_enabled():
        return launched(plan_squeeze_reasoning, (x, *weights), laid_out=_block_laid_out)[0]
    x = dense(x)
    (matrix,) = launched(plan_block_matrix, (x, *weights), True, laid_out=_block_laid_out)
    return _applied(matrix, x)


def _applied(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``matrix`` ``(N, C, C)`` at every pixel of a dense map, by the library's product."""
    n, c, h, w = x.shape
    if is_channels_last(x):
        y = torch.bmm(x.permute(0, 2, 3, 1).view(n, h * w, c), matrix.mT)
        return y.view(n, h, w, c).permute(0, 3, 1, 2)
    return torch.bmm(matrix, x.view(n, c, h * w)).view(n, c, h, w)


def squeeze_reasoning_weights(x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """``V + V M`` of ``(x, transform, pair, projected, adjacency, weight, base)``; see ``op.py``."""
    return launched(plan_squeeze_reasoning_weights, (x, *weights), laid_out=_folded_laid_out)[0]


def squeeze_reasoning_training(x: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """``y``, ``X X^T / HW``, ``g``, ``z`` and ``M``; see ``training.py``."""
    return launched(plan_training, (x, *weights), laid_out=_block_laid_out)


def map_gradient(grad: torch.Tensor, x: torch.Tensor, matrix: torch.Tensor, symmetric: torch.Tensor) -> torch.Tensor:
    """``dY + M^T dY + S X`` for a symmetric ``S`` ``(N, C, C)``, which is float32; see ``training.py``."""
    x = dense(x)
    form = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    grad = grad.contiguous(memory_format=form)
    return launched(plan_map_gradient, (grad, x, matrix, *scaled(symmetric, x.dtype)))[0]
