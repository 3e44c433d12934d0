"""Backbones: each maps images ``(N, 3, H, W)`` to a list of features ``(N, C_i, H / s_i, W / s_i)``."""

import warnings

# Importing dfnet and wider_resnet registers their models in timm.
from .dfnet import DFNet
from .features import FeatureBackbone, normalization, probe
from .wider_resnet import WiderResNet

__all__ = ["DFNet", "FeatureBackbone", "WiderResNet", "normalization", "probe"]


def __getattr__(name: str):
    if name == "normalisation":  # its name in version 0.1
        warnings.warn(
            "srzoo.backbones.normalisation is now normalization; the old name still works", FutureWarning, stacklevel=2
        )
        return normalization
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
