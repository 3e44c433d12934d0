"""What a squeeze needs of a map, and how a block is given that of a larger one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(eq=False)
class Moments:
    """Sums over the pixels of a map ``X``, ``(N, C, H, W)`` read as ``C x HW`` matrices; those of its parts add up.

    Attributes:
        second: ``X X^T``, ``(N, C, C)``; None for a squeeze that takes the mean alone.
        first: ``X 1``, ``(N, C)``.
        pixels: ``HW``.
    """

    second: torch.Tensor | None
    first: torch.Tensor
    pixels: int
    _covariance: torch.Tensor | None = field(default=None, init=False, repr=False)

    def __add__(self, other: Moments) -> Moments:
        second = None if self.second is None else self.second + other.second
        return Moments(second, self.first + other.first, self.pixels + other.pixels)

    @property
    def mean(self) -> torch.Tensor:
        """Of each channel over the pixels, ``(N, C)``."""
        return self.first / self.pixels

    @property
    def covariance(self) -> torch.Tensor:
        """Of the channels over the pixels, ``(N, C, C)``; one tensor however often it is asked for, for autograd."""
        if self._covariance is None:
            mean = self.mean
            self._covariance = self.second / self.pixels - mean[:, :, None] * mean[:, None, :]
        return self._covariance


# What `MomentBlock.given` has set, innermost last. A context variable, as one model may serve several threads at once;
# torch.compile guards on it.
_GIVEN: ContextVar[tuple[tuple[nn.Module, Moments], ...]] = ContextVar("given moments", default=())


class MomentBlock(nn.Module):
    """A block whose context is a function of the `Moments` of its input.

    ``forward(x, moments)`` puts the context of any map into ``x``: a tile of an image takes that of the whole image.
    `given` does so for a block that lies within a network.
    """

    def moments(self, x: torch.Tensor) -> Moments:
        """Of ``x``, ``(N, C, H, W)``: no more than the block's squeeze needs."""
        raise NotImplementedError

    @contextmanager
    def given(self, moments: Moments) -> Iterator[None]:
        """Within it this block takes ``moments`` in place of any input's own; in other threads it does not."""
        token = _GIVEN.set((*_GIVEN.get(), (self, moments)))
        try:
            yield
        finally:
            _GIVEN.reset(token)

    def _moments_for(self, x: torch.Tensor, moments: Moments | None) -> Moments:
        """The argument of ``forward``, else what `given` has set, else those of ``x``."""
        if moments is not None:
            return moments
        for block, own in reversed(_GIVEN.get()):
            if block is self:
                return own
        return self.moments(x)
