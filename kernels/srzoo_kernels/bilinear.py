"""The geometry of a bilinear resize, and the resize of a few cells at a time.

A *cell* is the square between four neighbouring source pixels; every output pixel lies in one cell and is a convex
combination of its four corners. Cells are what the CPU kernels work on: a block ``(K, rows, columns, cells)`` keeps
the cells innermost, so that each step (two interpolations, a maximum or a sum over the classes) is one vectorised
pass over a block that stays in the cache.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

_LONGEST_RUN = 16  # bounds a block when a factor is large; a longer run of outputs is cut into several cells
_WASTE = 1.5  # runs of unequal length are padded; above this much padding every output is its own cell


def source_positions(size: int, source: int, align_corners: bool, dtype: torch.dtype) -> torch.Tensor:
    """Positions ``(size,)`` of the outputs on the source axis, in pixels, unclamped, as ``interpolate`` rounds them.

    ATen computes ``scale * (i + 0.5) - 0.5`` in ``dtype`` and its compilers fuse the two operations, which matters:
    float32 near 256 has steps of 3e-5. A float64 product, rounded once, is that fused result.
    """
    index = torch.arange(size, dtype=torch.float64)
    if align_corners:
        scale = (source - 1) / (size - 1) if size > 1 else 0.0
        return (index * torch.tensor(scale, dtype=dtype).double()).to(dtype)
    scale = torch.tensor(source / size, dtype=dtype).double()
    return ((index + 0.5) * scale - 0.5).to(dtype)


@dataclass(frozen=True)
class Axis:
    """One axis of a resize: its outputs in ``G`` runs of up to ``M`` that lie between the same two source pixels.

    Attributes:
        base: ``(size,)`` int64, the lower source pixel of every output.
        low, high: ``(G,)`` int64, the two source pixels.
        position: ``(M, G)`` int64, the outputs; a short run repeats its last.
        inside: ``(M, G)`` bool, false on such repetitions.
        weight: ``(M, G)``, the share of ``high``.
    """

    base: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    position: torch.Tensor
    inside: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, size: int, source: int, align_corners: bool, dtype: torch.dtype) -> "Axis":
        exact = source_positions(size, source, align_corners, dtype)
        base = exact.floor().long()
        index = torch.arange(size)
        offset = index - torch.searchsorted(base, base)
        members = min(int(offset.max()) + 1, _LONGEST_RUN)
        start = index[offset % members == 0]
        if members * len(start) > _WASTE * size:
            members, start = 1, index
        end = torch.cat([start[1:], start.new_tensor([size])]) - 1
        position = start + torch.arange(members)[:, None]
        inside = position <= end
        position = position.minimum(end)
        weight = (exact - base)[position]
        base, next_base = (torch.clamp(base + step, 0, source - 1) for step in (0, 1))
        return cls(base, base[start], next_base[start], position, inside, weight)


class Cells:
    """The cells of a resize from ``(h, w)`` to ``(H, W)``, numbered along rows."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int], align_corners: bool, dtype: torch.dtype):
        self.rows, self.columns = (Axis.of(*sides, align_corners, dtype) for sides in zip(size, source))
        self.source, self.size = source, size
        self.count = len(self.rows.low) * len(self.columns.low)

    def spread(self, source: torch.Tensor, out: torch.Tensor) -> None:
        """Fill ``out``, ``(H, W)``, with every pixel's corner above and to the left in ``(h, w)``."""
        torch.index_select(source.index_select(0, self.rows.base), 1, self.columns.base, out=out)

    def parts(self, planes: int, elements: int, index: torch.Tensor | None = None) -> Iterator["Part"]:
        """The cells ``index`` (all without it), as many at a time as have ``elements`` output values in ``planes``."""
        each = planes * len(self.rows.weight) * len(self.columns.weight)
        index = torch.arange(self.count) if index is None else index
        count = max(1, elements // each)
        # One block for all parts: a new one for each would be zeroed by the system each time.
        block = self.rows.weight.new_empty(each * min(count, len(index)))
        for part in index.split(count):
            yield Part(self, part, block)


class Part:
    """Some cells of a resize, ``index`` of ``(S,)``. Output pixels below are ``(rows, columns, S)`` of them."""

    def __init__(self, cells: Cells, index: torch.Tensor, block: torch.Tensor):
        self.cells, self.index, self.block = cells, index, block
        self.row = index // len(cells.columns.low)
        self.column = index - self.row * len(cells.columns.low)
        self.down = cells.rows.weight.index_select(1, self.row)
        self.across = cells.columns.weight.index_select(1, self.column)

    def corners(self) -> torch.Tensor:
        """Source pixels ``(4, S)``: above left, above right, below left, below right."""
        rows, columns = self.cells.rows, self.cells.columns
        above, below = ((side * self.cells.source[1]).index_select(0, self.row) for side in (rows.low, rows.high))
        left, right = (side.index_select(0, self.column) for side in (columns.low, columns.high))
        return torch.stack([above + left, above + right, below + left, below + right])

    def pixels(self) -> torch.Tensor:
        """Output pixels as flat indices."""
        start = (self.cells.rows.position * self.cells.size[1]).index_select(1, self.row)
        return start[:, None] + self.cells.columns.position.index_select(1, self.column)

    def inside(self) -> torch.Tensor:
        """False where `pixels` repeats one."""
        return self.cells.rows.inside[:, None, self.row] & self.cells.columns.inside[:, self.column]

    def resize(self, source: torch.Tensor) -> torch.Tensor:
        """The output pixels ``(K, rows, columns, S)``, in the weights' dtype, of the whole source ``(K, h * w)``.

        They lie in a block that the next part overwrites.
        """
        above_left, above_right, below_left, below_right = (
            source.index_select(1, corner)[:, None].to(self.down.dtype) for corner in self.corners()
        )
        left = torch.lerp(above_left, below_left, self.down)
        right = torch.lerp(above_right, below_right, self.down)
        shape = (*left.shape[:2], *self.across.shape)
        block = self.block[: math.prod(shape)].view(shape)
        return torch.lerp(left[:, :, None], right[:, :, None], self.across, out=block)

    def collapse(self, grad: torch.Tensor) -> torch.Tensor:
        """The transpose of `resize`, ``(4, K, S)`` in the order of `corners`. Overwrites ``grad``."""
        both = grad.sum(2)
        right = grad.mul_(self.across).sum(2)
        left = both.sub_(right)
        parts = []
        for side in (left, right):
            every = side.sum(1)
            below = side.mul_(self.down).sum(1)
            parts.append((every.sub_(below), below))
        return torch.stack([parts[0][0], parts[1][0], parts[0][1], parts[1][1]])
