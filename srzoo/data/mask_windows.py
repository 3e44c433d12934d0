"""Binary masks of the objects in an image, each stored within a window around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class MaskWindows:
    """``N`` masks of one image. A dense ``(N, H, W)`` stack would take many times the memory.

    Attributes:
        pixels: ``(T,)`` uint8, 1 inside a mask: the windows row by row, one after another.
        windows: ``(N, 4)`` int64 on the CPU: x0, y0, x1, y1 of each window in pixels, without x1 and y1.
        size: ``(H, W)`` of the image in pixels.
    """

    pixels: torch.Tensor
    windows: torch.Tensor
    size: tuple[int, int]

    @classmethod
    def empty(cls, size: tuple[int, int]) -> MaskWindows:
        """No mask of an image of this size."""
        return cls(torch.zeros(0, dtype=torch.uint8), torch.zeros((0, 4), dtype=torch.int64), size)

    @classmethod
    def of(cls, masks: torch.Tensor) -> MaskWindows:
        """The smallest windows of ``(N, H, W)`` masks, not 0 inside. A mask without pixels gets an empty window."""
        parts, windows = [], []
        for mask in masks:
            rows, columns = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
            window = (0, 0, 0, 0)
            if len(rows):
                window = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            x0, y0, x1, y1 = window
            parts.append((mask[y0:y1, x0:x1] != 0).reshape(-1).to(torch.uint8))
            windows.append(window)
        if not parts:
            return cls.empty(tuple(masks.shape[1:]))
        return cls(torch.cat(parts), torch.tensor(windows), tuple(masks.shape[1:]))

    @classmethod
    def cat(cls, parts: Sequence[MaskWindows], size: tuple[int, int]) -> MaskWindows:
        """All masks of several sets, in order, of an image of this size."""
        parts = [cls.empty(size), *parts]
        pixels = torch.cat([part.pixels for part in parts])
        return cls(pixels, torch.cat([part.windows for part in parts]), size)

    def __len__(self) -> int:
        return len(self.windows)

    @cached_property
    def sides(self) -> torch.Tensor:
        """``(N, 2)`` int64 on the CPU: width and height of each window."""
        return self.windows[:, 2:] - self.windows[:, :2]

    @cached_property
    def offsets(self) -> torch.Tensor:
        """``(N + 1,)`` int64 on the CPU: where each window begins in ``pixels``, and where the last one ends."""
        ends = self.sides.prod(1).cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.int64), ends])

    def window(self, index: int) -> torch.Tensor:
        """One mask within its window, ``(h, w)`` uint8, a view."""
        width, height = self.sides[index].tolist()
        start, stop = self.offsets[index : index + 2].tolist()
        return self.pixels[start:stop].view(height, width)

    def full(self, index: int) -> torch.Tensor:
        """One mask, ``(H, W)`` uint8."""
        x0, y0, x1, y1 = self.windows[index].tolist()
        mask = self.pixels.new_zeros(self.size)
        mask[y0:y1, x0:x1] = self.window(index)
        return mask

    def areas(self) -> torch.Tensor:
        """``(N,)`` int64 on the CPU: number of pixels in each mask."""
        counts = [self.window(i).sum(dtype=torch.int64) for i in range(len(self))]
        return torch.stack(counts).cpu() if counts else torch.zeros(0, dtype=torch.int64)

    def select(self, indices: Sequence[int] | torch.Tensor) -> MaskWindows:
        """The masks with these indices, in this order."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        parts = [self.window(i).reshape(-1) for i in indices.tolist()]
        return MaskWindows(torch.cat([self.pixels[:0], *parts]), self.windows[indices], self.size)

    def to(self, device: torch.device) -> MaskWindows:
        """The same masks with ``pixels`` on another device."""
        return MaskWindows(self.pixels.to(device, non_blocking=True), self.windows, self.size)

    def pin_memory(self) -> MaskWindows:
        """For the data loader: the same masks in pinned memory."""
        return MaskWindows(self.pixels.pin_memory(), self.windows, self.size)
