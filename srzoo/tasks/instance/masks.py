"""The masks of a result, one bit per pixel within a window around each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...messages import shortened
from ..equality import ComparedByValue


@dataclass(eq=False)
class PackedMasks(ComparedByValue):
    """Masks of the objects in one image: ``masks[i]`` is ``(H, W)`` bool.

    A hundred masks of an image of 8000x4000 pixels take 400 MB at most, where a float stack would take 13 GB.

    Attributes:
        size: ``(H, W)`` of the image in pixels.
        windows: x0, y0, x1, y1 of the window of each mask in pixels, without x1 and y1.
    """

    size: tuple[int, int]
    windows: list[tuple[int, int, int, int]] = field(default_factory=list)
    _bits: list[np.ndarray] = field(default_factory=list, repr=False)

    def append(self, window: tuple[int, int, int, int], mask: np.ndarray) -> None:
        """Add a mask ``(h, w)``, bool or uint8, within a window of this size."""
        self.windows.append(window)
        self._bits.append(np.packbits(mask, axis=None))

    def __len__(self) -> int:
        return len(self.windows)

    def within(self, index: int) -> np.ndarray:
        """The part ``(h, w)`` bool of a mask in its window."""
        x0, y0, x1, y1 = self.windows[index]
        shape = y1 - y0, x1 - x0
        return np.unpackbits(self._bits[index], count=shape[0] * shape[1]).reshape(shape).view(bool)

    def __getitem__(self, which: Any) -> np.ndarray | PackedMasks:
        """A mask, ``(H, W)`` bool, by its index; or some of the masks, by `chosen`.

        Raises:
            IndexError: there is no such mask, or ``which`` is another kind of value.
        """
        index = chosen(len(self), which)
        if index.ndim:
            return self.select(index)
        x0, y0, x1, y1 = self.windows[index]
        mask = np.zeros(self.size, bool)
        mask[y0:y1, x0:x1] = self.within(index)
        return mask

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def select(self, indices: Iterable[int]) -> PackedMasks:
        """The masks with these indices, in this order."""
        indices = list(indices)
        return PackedMasks(self.size, [self.windows[i] for i in indices], [self._bits[i] for i in indices])

    def areas(self) -> np.ndarray:
        """``(N,)`` int64 pixels of each mask."""
        return np.array([np.count_nonzero(self.within(i)) for i in range(len(self))], np.int64)


def chosen(count: int, which: Any) -> np.ndarray:
    """The index of one of ``count`` objects, ``()``, or the indices of some of them, ``(m,)``.

    Args:
        count: number of objects.
        which: an index, a slice, a list of indices or a bool for each.

    Raises:
        IndexError: there is no such object, or ``which`` is another kind of value.
    """
    with contextlib.suppress(IndexError, TypeError):
        found = np.asarray(np.arange(count)[which])
        if found.ndim <= 1:  # two of None
            return found
    raise IndexError(
        f"no object {shortened(which)} of {count}; expected an index, a slice, a list of indices or a bool for each"
    )
