"""The tiles of outputs that the kernels take, and the logits that these can read."""

import torch

from ..launch import MOST_ELEMENTS, MOST_PROGRAMS, triton_serves_batch

_MOST_ROWS = 8


def tile_rows(height: int, source_height: int, most: int = 3) -> tuple[int, int]:
    """Output rows of a tile and source rows it reads: as many outputs as ``most`` source rows are sure to serve."""
    rows = _MOST_ROWS
    while rows > 1 and (rows - 1) * source_height >= (most - 2) * height:
        rows //= 2
    return rows, 2 if rows == 1 else 3 + (rows - 1) * source_height // height


def triton_resizes(logits: torch.Tensor, height: int) -> bool:
    """Whether Triton serves ``logits`` ``(N, K, h, w)``, and a grid has room for tiles of ``height`` rows."""
    if not triton_serves_batch(logits):
        return False
    tiles = -(-height // tile_rows(height, logits.shape[2])[0])
    return max(tiles, logits.shape[1]) <= MOST_PROGRAMS


def with_near_columns(logits: torch.Tensor, *others: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """The operands, the logits copied where the offsets of a row's columns need more than the 32 bits of the kernels.

    Columns lie that far apart in a large channels_last map whose sides were exchanged.
    """
    if (logits.shape[3] - 1) * logits.stride(3) >= MOST_ELEMENTS:
        logits = logits.contiguous()
    return logits, *others
