"""The geometry of a bilinear resize, and the resize of a few cells at a time.

A *cell* is the square between four neighbouring source pixels; every output pixel lies in one cell and is a convex
combination of its four corners. Cells are what the CPU kernels work on: a block ``(rows, K, columns, cells)`` keeps
the cells innermost, so that each step (two interpolations, a maximum or a sum over the classes) is one vectorized
pass over a block that stays in the cache. With the rows outermost every step gives a thread the same part of it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

_LONGEST_RUN = 16  # bounds a block when a factor is large; a longer run of outputs is cut into several cells
_WASTE = 1.5  # runs of unequal length are padded; above this much padding every output is its own cell


def source_scale(size: int, source: int, align_corners: bool) -> float:
    """Source pixels per output pixel, as ``interpolate`` defines them."""
    if not align_corners:
        return source / size
    return (source - 1) / (size - 1) if size > 1 else 0.0


def source_positions(
    size: int, source: int, align_corners: bool, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Positions ``(size,)`` of the outputs on the source axis, in pixels, unclamped, as ``interpolate`` rounds them.

    ATen computes ``scale * (i + 0.5) - 0.5`` in ``dtype`` and its compilers fuse the two operations, which matters:
    float32 near 256 has steps of 3e-5. A float64 product, rounded once, is that fused result.
    """
    index = torch.arange(size, dtype=torch.float64, device=device)
    scale = torch.tensor(source_scale(size, source, align_corners), dtype=dtype).double()
    if align_corners:
        return (index * scale).to(dtype)
    return ((index + 0.5) * scale - 0.5).to(dtype)


def source_pixels(positions: torch.Tensor, source: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The two source pixels ``(2, size)`` around each of `source_positions`, and the share ``(size,)`` of the second.

    Before the first pixel and after the last both are that pixel, so any share gives its value.
    """
    base = positions.floor().long()
    return torch.stack([base, base + 1]).clamp_(0, source - 1), positions - base


@dataclass(frozen=True)
class Axis:
    """One axis of a resize: its outputs in ``G`` runs of up to ``M`` that lie between the same two source pixels.

    Attributes:
        base: ``(size,)`` int64, the lower source pixel of every output.
        ends: ``(2, G)`` int64, the two source pixels.
        position: ``(M, G)`` int64, the outputs; a short run repeats its last.
        inside: ``(M, G)`` bool, false on such repetitions.
        weight: ``(M, G)``, the share of ``high``.
    """

    base: torch.Tensor
    ends: torch.Tensor
    position: torch.Tensor
    inside: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, size: int, source: int, align_corners: bool, dtype: torch.dtype) -> "Axis":
        """The axis of ``size`` outputs over ``source`` pixels.

        Three pixels to eight: the outputs lie at -0.31, 0.06, 0.44, 0.81, 1.19, 1.56, 1.94 and 2.31, so the runs are
        ``0 | 1 2 3 | 4 5 6 | 7``, M is 3, and ``position`` has the columns ``0 0 0``, ``1 2 3``, ``4 5 6``, ``7 7 7``.
        """
        exact = source_positions(size, source, align_corners, dtype)
        ends, weight = source_pixels(exact, source)
        base = exact.floor().long()
        index = torch.arange(size)
        offset = index - torch.searchsorted(base, base)  # from the first output over the same pixel
        members = min(int(offset.max()) + 1, _LONGEST_RUN)
        start = index[offset % members == 0]  # the first output of each run, (G,)
        if members * len(start) > _WASTE * size:
            members, start = 1, index
        end = torch.cat([start[1:], start.new_tensor([size])]) - 1
        position = start + torch.arange(members)[:, None]  # (M, G)
        inside = position <= end
        position = position.minimum(end)
        return cls(ends[0], ends[:, start], position, inside, weight[position])


class Cells:
    """The cells of a resize from ``(h, w)`` to ``(H, W)``, numbered along rows."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int], align_corners: bool, dtype: torch.dtype):
        # A cell is a run of rows crossed with a run of columns.
        self.rows, self.columns = (Axis.of(*sides, align_corners, dtype) for sides in zip(size, source))
        self.source, self.size = source, size
        self.row_ends, self.row_starts = source[1] * self.rows.ends, size[1] * self.rows.position
        self.count = len(self.rows.ends[0]) * len(self.columns.ends[0])

    def spread(self, source: torch.Tensor, out: torch.Tensor) -> None:
        """Fill ``out``, ``(H, W)``, with every pixel's corner above and to the left in ``(h, w)``."""
        # The columns first: they are slow to pick, and the rows, whole pieces of memory, then serve many times.
        torch.index_select(source.index_select(1, self.columns.base), 0, self.rows.base, out=out)

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
        # The run of rows and of columns of each cell, (S,), and the outputs' shares, (rows, S) and (columns, S).
        self.row = index // len(cells.columns.ends[0])
        self.column = index - self.row * len(cells.columns.ends[0])
        self.down = cells.rows.weight.index_select(1, self.row)
        self.across = cells.columns.weight.index_select(1, self.column)

    def corners(self) -> torch.Tensor:
        """Source pixels ``(2, 2, S)``: above and below, left and right."""
        ends = self.cells.row_ends.index_select(1, self.row)
        return ends[:, None] + self.cells.columns.ends.index_select(1, self.column)

    def pixels(self) -> torch.Tensor:
        """Output pixels as flat indices."""
        starts = self.cells.row_starts.index_select(1, self.row)
        return starts[:, None] + self.cells.columns.position.index_select(1, self.column)

    def inside(self) -> torch.Tensor:
        """False where `pixels` repeats one."""
        return self.cells.rows.inside[:, None, self.row] & self.cells.columns.inside[:, self.column]

    def resize(self, source: torch.Tensor) -> torch.Tensor:
        """The output pixels ``(rows, K, columns, S)``, in the weights' dtype, of the whole source ``(K, h * w)``.

        They lie in a block that the next part overwrites.
        """
        corners = self.corners()  # (2, 2, S), then of the source (K, 2, 2, S)
        corners = source.index_select(1, corners.flatten()).unflatten(1, corners.shape).to(self.down.dtype)
        sides = torch.lerp(corners[:, 0], corners[:, 1], self.down[:, None, None])  # (rows, K, 2, S)
        shape = (*sides.shape[:2], *self.across.shape)
        block = self.block[: math.prod(shape)].view(shape)
        return torch.lerp(sides[:, :, :1], sides[:, :, 1:], self.across, out=block)

    def collapse(self, grad: torch.Tensor) -> torch.Tensor:
        """The transpose of `resize`, ``(2, 2, K, S)`` in the order of `corners`. Overwrites ``grad``."""
        both = grad.sum(2)
        right = grad.mul_(self.across).sum(2)
        sides = torch.stack([both.sub_(right), right])  # (2, rows, K, S)
        both = sides.sum(1)
        below = sides.mul_(self.down[:, None]).sum(1)
        return torch.stack([both.sub_(below), below])
