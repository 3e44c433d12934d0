"""The geometry of a bilinear resize, and the resize of a few cells at a time.

A *cell* is the square between four neighbouring source pixels; every output pixel lies in one cell and is a convex
combination of its four corners. Cells are what the CPU kernels work on: a block ``(K, rows, columns, cells)`` keeps
the cells innermost, so that each step (two interpolations, a maximum or a sum over the classes) is one vectorised
pass over a block that stays in the cache.
"""

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
    """The cells of a resize from ``(h, w)`` to ``(H, W)``, numbered along rows; an ``index`` below: ``(S,)`` int64."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int], align_corners: bool, dtype: torch.dtype):
        self.rows, self.columns = (Axis.of(*sides, align_corners, dtype) for sides in zip(size, source))
        self.source, self.width = source, size[1]
        self.count = len(self.rows.low) * len(self.columns.low)
        self.pixels_each = len(self.rows.weight) * len(self.columns.weight)

    def _split(self, index):
        return index // len(self.columns.low), index % len(self.columns.low)

    def corners(self, index: torch.Tensor) -> torch.Tensor:
        """Source pixels ``(4, S)`` of the cells: above left, above right, below left, below right."""
        row, column = self._split(index)
        above, below = (side.index_select(0, row).mul_(self.source[1]) for side in (self.rows.low, self.rows.high))
        left, right = (side.index_select(0, column) for side in (self.columns.low, self.columns.high))
        return torch.stack([above + left, above + right, below + left, below + right])

    def spread(self, source: torch.Tensor) -> torch.Tensor:
        """Every output pixel's corner above and to the left, ``(H, W)``, of ``(h, w)``."""
        return source.index_select(0, self.rows.base).index_select(1, self.columns.base)

    def pixels(self, index: torch.Tensor) -> torch.Tensor:
        """Output pixels ``(rows, columns, S)`` of the cells, as flat indices."""
        row, column = self._split(index)
        start = self.rows.position.index_select(1, row).mul_(self.width)
        return start[:, None] + self.columns.position.index_select(1, column)

    def inside(self, index: torch.Tensor) -> torch.Tensor:
        """False ``(rows, columns, S)`` where `pixels` repeats one."""
        row, column = self._split(index)
        return self.rows.inside[:, None, row] & self.columns.inside[:, column]

    def resize(self, source: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """The output pixels ``(K, rows, columns, S)`` of the cells, from the whole source ``(K, h * w)``."""
        row, column = self._split(index)
        above_left, above_right, below_left, below_right = (
            source.index_select(1, corner)[:, None] for corner in self.corners(index)
        )
        down, across = self.rows.weight.index_select(1, row), self.columns.weight.index_select(1, column)
        left = torch.lerp(above_left, below_left, down)
        right = torch.lerp(above_right, below_right, down)
        return torch.lerp(left[:, :, None], right[:, :, None], across)

    def collapse(self, grad: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """The transpose of `resize`, ``(4, K, S)`` in the order of `corners`. Overwrites ``grad``."""
        row, column = self._split(index)
        down, across = self.rows.weight.index_select(1, row), self.columns.weight.index_select(1, column)
        both = grad.sum(2)
        right = grad.mul_(across).sum(2)
        left = both.sub_(right)
        parts = []
        for side in (left, right):
            every = side.sum(1)
            below = side.mul_(down).sum(1)
            parts.append((every.sub_(below), below))
        return torch.stack([parts[0][0], parts[1][0], parts[0][1], parts[1][1]])
