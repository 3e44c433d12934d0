"""Where the pixels of windows lie: row by row, and one window after another, in one flat buffer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

_LARGEST = 1 << 24  # a coordinate: beyond it float32 has no centres of pixels, and their numbers would pass 2^48


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, and where it begins in the flat buffer.

    Attributes:
        left, top: its first column and row.
        width, height: in pixels, 0 or more.
        start: number of pixels of the windows before it.
    """

    left: int
    top: int
    width: int
    height: int
    start: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def of(self, flat: torch.Tensor) -> torch.Tensor:
        """Its pixels in the flat buffer, a ``(height, width)`` view."""
        return flat[self.start : self.start + self.pixels].view(self.height, self.width)

    def inside(self, image: torch.Tensor) -> torch.Tensor:
        """Its pixels in an ``(H, W)`` image, a ``(height, width)`` view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def read_windows(windows: torch.Tensor, size: tuple[int, int] | None = None) -> list[Window]:
    """The windows of a ``(N, 4)`` int64 tensor on the CPU, ``x0, y0, x1, y1`` in pixels, the ends excluded.

    Args:
        windows: of one image.
        size: ``(H, W)`` of the image; with None any to which such windows could belong.

    Raises:
        ValueError: a window ends before it begins, or is not within the image.
    """
    height, width = size or (_LARGEST, _LARGEST)
    found, start = [], 0
    for index, (left, top, right, bottom) in enumerate(windows.tolist()):
        if not (0 <= left <= right <= width and 0 <= top <= bottom <= height):
            raise ValueError(
                f"expected windows x0, y0, x1, y1 with 0 <= x0 <= x1 <= {width} and 0 <= y0 <= y1 <= {height}, "
                f"got {(left, top, right, bottom)} as window {index}; clip them to the image"
            )
        found.append(Window(left, top, right - left, bottom - top, start))
        start += found[-1].pixels
    return found


def total_pixels(windows: Sequence[Window]) -> int:
    """Length of the flat buffer."""
    return windows[-1].start + windows[-1].pixels if windows else 0


@dataclass(frozen=True)
class Blocks:
    """The flat buffer in blocks of pixels, none of which has pixels of two windows, as a kernel's programs take them.

    Attributes:
        owner: ``(blocks,)`` int32, the window of each block.
        table: ``(N, 6)`` int64, of each window its start, left, top, width, pixels and first block.
        ends: for every group of windows the block after its last.
    """

    owner: torch.Tensor
    table: torch.Tensor
    ends: list[int]


def plan_blocks(windows: Sequence[Window], groups: Iterable[Iterable[int]], block: int, device: torch.device) -> Blocks:
    """Divide ``windows`` into blocks of up to ``block`` pixels.

    Args:
        windows: as `read_windows` gives them.
        groups: which of them, by their number, go into one launch; every window is in one group.
        block: pixels.
        device: of the tables. The copy does not wait for it.
    """
    order, counts, ends, next_block = [], [], [], 0
    firsts = [0] * len(windows)
    for group in groups:
        for index in group:
            order.append(index)
            counts.append(-(-windows[index].pixels // block))
            firsts[index] = next_block
            next_block += counts[-1]
        ends.append(next_block)
    owner = torch.tensor(order, dtype=torch.int32).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    rows = [
        (each.start, each.left, each.top, each.width, each.pixels, first)
        for each, first in zip(windows, firsts, strict=True)
    ]
    table = torch.tensor(rows, dtype=torch.int64).view(-1, 6)
    return Blocks(_to_device(owner, device), _to_device(table, device), ends)


def _to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
