"""Feature extractors: an image in, a list of ``(N, C_i, H / s_i, W / s_i)`` maps out."""

from .features import FeatureBackbone

__all__ = ["FeatureBackbone"]
