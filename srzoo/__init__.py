"""srzoo: a model zoo for Squeeze Reasoning (SRNet, arXiv 2011.03308).

Names are imported when first used, so that `import srzoo` and `srzoo list` do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .factory import create_model, load_model, save_model
    from .folding import fuse
    from .info import ModelInfo, list_models, model_info
    from .insertion import insert
    from .layers import SqueezeReasoning
    from .predict import Segmentation, Segmenter

_HOME = {
    "create_model": ".factory",
    "load_model": ".factory",
    "save_model": ".factory",
    "fuse": ".folding",
    "insert": ".insertion",
    "SqueezeReasoning": ".layers",
    "list_models": ".info",
    "model_info": ".info",
    "ModelInfo": ".info",
    "Segmenter": ".predict",
    "Segmentation": ".predict",
}
__all__ = [
    "ModelInfo",
    "Segmentation",
    "Segmenter",
    "SqueezeReasoning",
    "create_model",
    "fuse",
    "insert",
    "list_models",
    "load_model",
    "model_info",
    "save_model",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    if name in ("layers", "models", "data", "train", "backbones"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
