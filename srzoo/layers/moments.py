"""The sums that a squeeze needs of a feature map, and how a block takes those of a larger map."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import nn

from .leaf import NotScriptable


@dataclass(eq=False)
class Moments:
    """Sums over the pixels of a map ``X``, which is ``(N, C, H, W)``, or a ``C x HW`` matrix per image.

    The moments of the parts of a map add up to those of the map.

    Attributes:
        second: ``X X^T``, ``(N, C, C)``, float32 or wider; None for a squeeze that only needs the mean.
        first: ``X 1``, ``(N, C)``, float32 or wider.
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
        """Mean of each channel over the pixels, ``(N, C)``."""
        return self.first / self.pixels

    @property
    def covariance(self) -> torch.Tensor:
        """Covariance of the channels over the pixels, ``(N, C, C)``. Computed once, so autograd keeps one matrix."""
        if self._covariance is None:
            mean = self.mean
            self._covariance = self.second / self.pixels - mean[:, :, None] * mean[:, None, :]
        return self._covariance


# The moments set by `MomentBlock.given`, innermost last. A context variable, because several threads may use one model
# at once; torch.compile guards on it.
_GIVEN: ContextVar[tuple[tuple[nn.Module, Moments], ...]] = ContextVar("given moments", default=())
_lock = threading.Lock()


class MomentBlock(NotScriptable, nn.Module):
    """A block whose global context is a function of the `Moments` of its input.

    ``forward(x, moments)`` uses the moments of another map than ``x``. So a tile gets the context of the whole image.
    `given` does the same for a block inside a network.
    """

    _givers = 0  # contexts of `given` that are open, in any thread

    def moments(self, x: torch.Tensor) -> Moments:
        """The moments of ``x``, ``(N, C, H, W)``. ``second`` is None if the block's squeeze does not need it."""
        raise NotImplementedError

    @contextmanager
    def given(self, moments: Moments) -> Iterator[None]:
        """Context manager in which this block uses ``moments`` instead of its input's. Other threads are unaffected."""
        token = _GIVEN.set((*_GIVEN.get(), (self, moments)))
        with _lock:
            self._givers += 1
        try:
            yield
        finally:
            with _lock:
                self._givers -= 1
            _GIVEN.reset(token)

    def given_or(self, moments: Moments | None) -> Moments | None:
        """The argument of ``forward``, else the moments that `given` has set, else None."""
        if moments is not None or not self._givers:  # Dynamo of PyTorch before 2.14 cannot read a context variable
            return moments
        return next((own for block, own in reversed(_GIVEN.get()) if block is self), None)

    def _moments_for(self, x: torch.Tensor, moments: Moments | None) -> Moments:
        """The argument of ``forward``, else the moments that `given` has set, else those of ``x``."""
        moments = self.given_or(moments)
        return self.moments(x) if moments is None else moments
