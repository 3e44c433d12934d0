"""Backbones: each maps images ``(N, 3, H, W)`` to a list of features ``(N, C_i, H / s_i, W / s_i)``."""

# Importing dfnet and wider_resnet registers their models in timm.
from .dfnet import DFNet
from .features import FeatureBackbone, normalization, probe
from .wider_resnet import WiderResNet

__all__ = ["DFNet", "FeatureBackbone", "WiderResNet", "normalization", "probe"]
