"""Feature extractors: an image in, a list of ``(N, C_i, H / s_i, W / s_i)`` maps out."""

# dfnet and wider_resnet register their models in timm.
from .dfnet import DFNet
from .features import FeatureBackbone, normalization, probe
from .wider_resnet import WiderResNet

__all__ = ["DFNet", "FeatureBackbone", "WiderResNet", "normalization", "probe"]
