"""Block sizes, from shapes and the architecture alone, so that the same input always takes the same path."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from ..launch import Target


@dataclass(frozen=True)
class Blocks:
    """Rows and columns of an output tile, elements of the summed axis per step, warps, and pipeline stages."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


def tile_size(channels: int) -> int:
    """Side of a tile of the ``C x C`` matrix: 128 keeps a tensor core fed, fewer channels need no more than 64."""
    return 128 if channels > 64 else 64 if channels > 32 else 32


def product_tile(channels: int, pixels: int, dtype: torch.dtype) -> int:
    """Side of a tile of ``A B^T``: smaller for a small map, where one tile leaves no lower half and few programs."""
    if not 64 < channels <= 128 or pixels > 8192:
        return tile_size(channels)
    return 32 if dtype == torch.float32 else 64  # bound by operations, and by bytes


def upper_tiles(channels: int, tile: int) -> int:
    """Number of tiles on and above the diagonal of a ``channels x channels`` matrix."""
    across = -(-channels // tile)
    return across * (across + 1) // 2


def product_blocks(rows: int, columns: int, dtype: torch.dtype, precision: str, target: Target) -> Blocks:
    """Blocks for one ``rows x columns`` tile of a product in ``dtype``."""
    warps = 8 if rows * columns > 64 * 64 else 4
    if target.backend == "hip":  # 64 KB of shared memory, and no asynchronous copy to hide behind more stages
        # A wavefront is twice a warp: a small tile has no 128 bits for each of its threads otherwise.
        return Blocks(rows, columns, 32, warps if rows * columns > 32 * 32 else 2, 2)
    if dtype == torch.float32:
        depth = 32 if precision == "tf32" else 16
        return Blocks(rows, columns, depth, warps, 3)
    return Blocks(rows, columns, 64, warps, 3)


@lru_cache(maxsize=1024)  # on the way of every launch
def split_steps(tiles: int, steps: int, target: Target) -> int:
    """Steps of the pixel loop each program runs, so that ``tiles`` times the number of splits fill the device.

    The cost is counted in steps: waves of programs times the length of one, where starting and ending a program
    costs about four, plus the second stage, which reads back every split's tiles (24 ns for 64 KB written and read
    in the L2 cache of an H100, where a step takes 280 ns).
    """
    start, second_stage = 4, 0.05

    def cost(length: int) -> float:
        programs = tiles * -(-steps // length)
        second = second_stage * programs if length < steps else 0
        return -(-programs // target.processors) * (length + start) + second

    lengths = sorted({-(-steps // splits) for splits in range(1, min(steps, 4 * target.processors) + 1)}, reverse=True)
    return min(lengths, key=cost)


@lru_cache(maxsize=1024)
def map_tile(channels: int, images: int, pixels: int, target: Target) -> tuple[int, int]:
    """Channels and pixels of an output tile of the channel map: 128 x 128, or less where that idles processors."""

    rows = tile_size(channels)
    halvings = [(rows, rows), (rows, rows // 2), (rows // 2, rows // 2), (rows // 2, rows // 4), (rows // 4, rows // 4)]
    tiles = [tile for tile in halvings if min(tile) >= 16]

    def cost(index: int) -> float:
        """Elements the device could have computed in the time; each halving reads its operands more often."""
        height, width = tiles[index]
        programs = images * -(-channels // height) * -(-pixels // width)
        return -(-programs // target.processors) * height * width * 1.15**index

    return tiles[min(range(len(tiles)), key=cost)]
