"""srzoo: a model zoo for Squeeze Reasoning (SRNet, arXiv 2011.03308).

Names are imported when first used, so that `import srzoo` and `srzoo list` do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .explanation.explain import Explanation, explain
    from .export.onnx import export_onnx
    from .export.package import export_package
    from .export.program import export_program
    from .hub.push import push_to_hub
    from .layers import SqueezeReasoning
    from .layers.insertion import insert
    from .models.folding import fuse
    from .predict import Segmenter
    from .tasks.instance.result import Instances
    from .tasks.panoptic.result import Panoptic
    from .tasks.semantic.result import Segmentation
    from .zoo.factory import create_model, load_model, save_model
    from .zoo.info import ModelInfo, list_models, model_info

_HOME = {
    "create_model": ".zoo.factory",
    "load_model": ".zoo.factory",
    "save_model": ".zoo.factory",
    "fuse": ".models.folding",
    "explain": ".explanation.explain",
    "Explanation": ".explanation.explain",
    "export_onnx": ".export.onnx",
    "export_package": ".export.package",
    "export_program": ".export.program",
    "insert": ".layers.insertion",
    "push_to_hub": ".hub.push",
    "SqueezeReasoning": ".layers",
    "list_models": ".zoo.info",
    "model_info": ".zoo.info",
    "ModelInfo": ".zoo.info",
    "Segmenter": ".predict",
    "Segmentation": ".tasks.semantic.result",
    "Instances": ".tasks.instance.result",
    "Panoptic": ".tasks.panoptic.result",
}
_PACKAGES = ["backbones", "data", "evaluate", "export", "labels", "layers", "models", "tasks", "train", "video", "zoo"]
__all__ = [
    "Explanation",
    "Instances",
    "ModelInfo",
    "Panoptic",
    "Segmentation",
    "Segmenter",
    "SqueezeReasoning",
    "create_model",
    "explain",
    "export_onnx",
    "export_package",
    "export_program",
    "fuse",
    "insert",
    "list_models",
    "load_model",
    "model_info",
    "push_to_hub",
    "save_model",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    if name in (
        "backbones",
        "data",
        "evaluate",
        "export",
        "labels",
        "layers",
        "models",
        "tasks",
        "train",
        "video",
        "zoo",
    ):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
