"""The two products as Triton kernels.

Both take any strides of channel and pixel, so contiguous and channels_last maps are read where they lie.
"""

import torch
import triton
import triton.language as tl

from ..launch import Launch, Target, precision
from ..layout import pixel_strides
from .blocks import map_tile, product_blocks, product_tile, split_steps, upper_tiles


@triton.jit
def multiply_add(a, b, total, PRECISION: tl.constexpr):
    if PRECISION == "widened":  # Triton's interpreter would multiply the bits of a bfloat16 as an integer
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total, input_precision="ieee")
    else:
        return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def upper_tile(tile, across):
    """Row and column of the ``tile``-th tile on or above the diagonal, counted row by row."""
    row = 0
    rest = tile
    while rest >= across - row:
        rest -= across - row
        row += 1
    return row, row + rest


@triton.jit
def pixel_product_kernel(
    a,
    b,
    product,  # (splits, N, C, C) float32
    sums,  # (splits, N, C) float32
    images,
    channels,
    pixels,
    a_image,
    a_channel,
    a_pixel,
    b_image,
    b_channel,
    b_pixel,
    steps,
    SYMMETRIC: tl.constexpr,
    WITH_SUMS: tl.constexpr,
    DIRECT: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``A B^T`` and ``A 1`` over one split of the pixels; for ``SYMMETRIC`` b is a, and only the upper tiles exist.

    The tiles are the fastest axis of the grid: all tiles of a split run together, so a pixel is read from memory
    once and from the cache after that.
    """
    tile = tl.program_id(0)
    split = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    across = tl.cdiv(channels, TILE)
    if SYMMETRIC:
        row, column = upper_tile(tile, across)
        first = row
    else:
        row = tile // across
        column = tile % across
        first = 0  # the column whose tiles sum their rows
    sums_here = column == first if WITH_SUMS else False
    rows = row * TILE + tl.arange(0, TILE)
    columns = column * TILE + tl.arange(0, TILE)
    start = split * steps * DEPTH
    depth = tl.arange(0, DEPTH)
    a_rows = a + image * a_image + rows[:, None] * a_channel
    b_rows = b + image * b_image + columns[:, None] * b_channel
    rows_exist = (rows < channels)[:, None]
    columns_exist = (columns < channels)[:, None]
    length = tl.minimum(steps, tl.cdiv(pixels - start, DEPTH))
    total = tl.zeros((TILE, TILE), tl.float32)
    split_image = split * images + image
    # Two loops, since only the tiles that also sum their rows need the operand in registers.
    if sums_here:
        row_sums = tl.zeros((TILE,), tl.float32)
        for step in range(length):
            pixel = start + step * DEPTH + depth
            exists = (pixel < pixels)[None, :]
            left = tl.load(a_rows + pixel[None, :] * a_pixel, mask=rows_exist & exists, other=0.0)
            if SYMMETRIC:
                right = left
            else:
                right = tl.load(b_rows + pixel[None, :] * b_pixel, mask=columns_exist & exists, other=0.0)
            total = multiply_add(left, tl.trans(right), total, PRECISION)
            row_sums += tl.sum(left.to(tl.float32), 1)
        tl.store(sums + split_image * channels + rows, row_sums, mask=rows < channels)
    else:
        for step in range(length):
            pixel = start + step * DEPTH + depth
            exists = (pixel < pixels)[None, :]
            left = tl.load(a_rows + pixel[None, :] * a_pixel, mask=rows_exist & exists, other=0.0)
            right = tl.load(b_rows + pixel[None, :] * b_pixel, mask=columns_exist & exists, other=0.0)
            total = multiply_add(left, tl.trans(right), total, PRECISION)
    here = product + split_image * channels * channels
    inside = rows_exist & (columns < channels)[None, :]
    tl.store(here + rows[:, None] * channels + columns[None, :], total, mask=inside)
    if SYMMETRIC and DIRECT and row != column:
        tl.store(here + columns[None, :] * channels + rows[:, None], total, mask=inside)


@triton.jit
def mirrored_sum_kernel(
    parts,  # (splits, N, C, C) float32, upper tiles only
    part_sums,  # (splits, N, C) float32
    product,  # (N, C, C) float32
    sums,  # (N, C) float32
    images,
    channels,
    splits,
    TILE: tl.constexpr,
):
    """Sum the splits in their order, and write each upper tile and its mirror image."""
    row, column = upper_tile(tl.program_id(0), tl.cdiv(channels, TILE))
    image = tl.program_id(1).to(tl.int64)
    rows = row * TILE + tl.arange(0, TILE)
    columns = column * TILE + tl.arange(0, TILE)
    inside = (rows < channels)[:, None] & (columns < channels)[None, :]
    offsets = rows[:, None] * channels + columns[None, :]
    total = tl.zeros((TILE, TILE), tl.float32)
    row_sums = tl.zeros((TILE,), tl.float32)
    for split in range(splits):
        part = split * images + image
        total += tl.load(parts + part * channels * channels + offsets, mask=inside, other=0.0)
        if row == column:
            row_sums += tl.load(part_sums + part * channels + rows, mask=rows < channels, other=0.0)
    here = product + image * channels * channels
    tl.store(here + offsets, total, mask=inside)
    if row == column:
        tl.store(sums + image * channels + rows, row_sums, mask=rows < channels)
    else:
        tl.store(here + columns[None, :] * channels + rows[:, None], total, mask=inside)


@triton.jit
def channel_map_kernel(
    x,
    matrix,  # (N, C, C) in x's dtype
    bias,  # (N, C), any floating dtype
    scale,  # (N,) float32
    base,  # laid out as y, which it may be
    y,
    channels,
    pixels,
    image_stride,
    channel_stride,
    pixel_stride,
    matrix_image,
    matrix_row,
    matrix_column,
    WITH_BIAS: tl.constexpr,
    WITH_SCALE: tl.constexpr,
    WITH_BASE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``base + scale M X + b``. The channel tiles of one pixel tile run together."""
    # On the first axis of the grid, the only one that takes more than 65535 programs.
    row_tiles = tl.cdiv(channels, ROWS)
    tile = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    rows = tile % row_tiles * ROWS + tl.arange(0, ROWS)
    pixel = tile // row_tiles * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    rows_exist = (rows < channels)[:, None]
    pixels_exist = (pixel < pixels)[None, :]
    m_rows = matrix + image * matrix_image + rows[:, None] * matrix_row
    x_pixels = x + image * image_stride + pixel[None, :] * pixel_stride
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for step in range(tl.cdiv(channels, DEPTH)):
        k = step * DEPTH + depth
        m = tl.load(m_rows + k[None, :] * matrix_column, mask=rows_exist & (k < channels)[None, :], other=0.0)
        values = tl.load(x_pixels + k[:, None] * channel_stride, mask=(k < channels)[:, None] & pixels_exist, other=0.0)
        total = multiply_add(m, values, total, PRECISION)
    if WITH_SCALE:
        total *= tl.load(scale + image)
    if WITH_BIAS:
        offset = tl.load(bias + image * channels + rows, mask=rows < channels, other=0.0)
        total += offset.to(tl.float32)[:, None]
    here = rows[:, None] * channel_stride
    inside = rows_exist & pixels_exist
    y_offset = image * image_stride + pixel[None, :] * pixel_stride
    if WITH_BASE:
        total += tl.load(base + y_offset + here, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + y_offset + here, total.to(y.dtype.element_ty), mask=inside)


def plan_pixel_product(
    a: torch.Tensor, b: torch.Tensor, target: Target, symmetric: bool = False, with_sums: bool = True
) -> tuple[Launch, torch.Tensor, torch.Tensor]:
    """Plan ``A B^T`` and ``A 1`` of two dense maps: the launch, and its results by split, float32.

    The results are ``(splits, N, C, C)``, for ``symmetric`` (``b`` is ``a``) the tiles on and above the diagonal only
    unless there is a single split, and ``(splits, N, C)``.
    """
    n, c, h, w = a.shape
    pixels = h * w
    tile = product_tile(c, pixels, a.dtype)
    kind = precision(a)
    blocks = product_blocks(tile, tile, a.dtype, kind, target)
    across = triton.cdiv(c, tile)
    tiles = upper_tiles(c, tile) if symmetric else across * across
    total_steps = triton.cdiv(pixels, blocks.depth)
    steps = split_steps(tiles * n, total_steps, target)
    splits = triton.cdiv(total_steps, steps)
    parts = torch.empty(splits, n, c, c, dtype=torch.float32, device=a.device)
    part_sums = torch.empty(splits, n, c, dtype=torch.float32, device=a.device)
    strides = dict(zip(("a_image", "a_channel", "a_pixel"), pixel_strides(a), strict=True))
    strides |= zip(("b_image", "b_channel", "b_pixel"), pixel_strides(b), strict=True)
    launch = Launch(
        pixel_product_kernel,
        (tiles, splits, n),
        {"a": a, "b": b, "product": parts, "sums": part_sums}
        | {"images": n, "channels": c, "pixels": pixels, "steps": steps}
        | strides,
        {"SYMMETRIC": symmetric, "WITH_SUMS": with_sums, "DIRECT": splits == 1}
        | {"TILE": tile, "DEPTH": blocks.depth, "PRECISION": kind},
        blocks.warps,
        blocks.stages,
    )
    return launch, parts, part_sums


def plan_mirrored_sum(
    parts: torch.Tensor, part_sums: torch.Tensor, target: Target
) -> tuple[Launch, torch.Tensor, torch.Tensor]:
    """Plan the second stage of a symmetric `plan_pixel_product`: ``(N, C, C)`` in full, and ``(N, C)``."""
    splits, n, c, _ = parts.shape
    product, sums = torch.empty_like(parts[0]), torch.empty_like(part_sums[0])
    launch = Launch(
        mirrored_sum_kernel,
        (upper_tiles(c, 32), n, 1),
        {"parts": parts, "part_sums": part_sums, "product": product, "sums": sums}
        | {"images": n, "channels": c, "splits": splits},
        {"TILE": 32},
        warps=4 if target.warp_size == 32 else 2,
    )
    return launch, product, sums


def plan_channel_map(
    x: torch.Tensor,
    matrix: torch.Tensor,
    y: torch.Tensor,
    target: Target,
    bias: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    base: torch.Tensor | None = None,
) -> Launch:
    """Plan ``y = base + scale M x + b`` of a dense map.

    ``matrix`` ``(N, C, C)`` has ``x``'s dtype and any strides; ``bias`` ``(N, C)`` and ``scale`` ``(N,)`` are
    contiguous; ``base`` is laid out as ``x``, and may be ``x`` or ``y``.
    """
    n, c, h, w = x.shape
    pixels = h * w
    rows, columns = map_tile(c, n, pixels, target)
    kind = precision(x)
    blocks = product_blocks(rows, columns, x.dtype, kind, target)
    image, channel, pixel = pixel_strides(x)
    absent = y  # a pointer that is never followed
    return Launch(
        channel_map_kernel,
        (triton.cdiv(c, rows) * triton.cdiv(pixels, columns), n, 1),
        {"x": x, "matrix": matrix, "y": y, "channels": c, "pixels": pixels}
        | {"bias": absent if bias is None else bias, "scale": absent if scale is None else scale}
        | {"base": absent if base is None else base}
        | {"image_stride": image, "channel_stride": channel, "pixel_stride": pixel}
        | dict(zip(("matrix_image", "matrix_row", "matrix_column"), matrix.stride(), strict=True)),
        {"WITH_BIAS": bias is not None, "WITH_SCALE": scale is not None, "WITH_BASE": base is not None}
        | {"ROWS": rows, "COLUMNS": columns, "DEPTH": blocks.depth, "PRECISION": kind},
        blocks.warps,
        blocks.stages,
    )
