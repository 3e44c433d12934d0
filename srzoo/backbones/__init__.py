"""Feature extractors: an image in, a list of ``(N, C_i, H / s_i, W / s_i)`` maps out."""

from .dfnet import DFNet  # registers its models in timm
from .features import FeatureBackbone, probe

__all__ = ["DFNet", "FeatureBackbone", "probe"]
