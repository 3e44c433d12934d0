"""The weights that ship."""

from .weights import Weights

PUBLISHED: dict[str, Weights] = {}
