"""srzoo: a model zoo for Squeeze Reasoning (SRNet, arXiv 2011.03308).

    Segmenter("srnet_lite0_camvid")("street.png")   an image in, a result out: Segmentation, Instances or Panoptic
    list_models("srnet_*"), model_info(NAME)        what there is: classes, licence, figures; ModelInfo
    create_model(NAME, pretrained=True)             an ordinary nn.Module, also over any timm backbone
    save_model(model, FILE), load_model(FILE)       weights with the model's configuration
    train(NAME, DATA, out=DIR), evaluate(FILE, DATA)  fine-tuning and figures, on folders or datasets of your own
    insert(model, "layer4"), SqueezeReasoning(512)  the block, in any network or alone
    fuse(model)                                     an equal model, folded for inference
    explain(model, IMAGE)                           what the block does with an image; an Explanation
    export_onnx, export_program, export_package     files that run without srzoo
    push_to_hub(FILE, "owner/name"), video.segment  a model hub; videos and cameras

`help(srzoo.Segmenter)` and so on describe each. The program `srzoo` segments, trains and evaluates: `srzoo --help`.
Names are imported when first used, so that `import srzoo` and `srzoo list` do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .evaluate.api import evaluate
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
    from .train.api import train
    from .zoo.factory import create_model, load_model, save_model
    from .zoo.info import ModelInfo, list_models, model_info

    # For type checkers alone: with it, `help(srzoo)` would print all of nn.Module for each class.
    __all__ = [
        "Explanation",
        "Instances",
        "ModelInfo",
        "Panoptic",
        "Segmentation",
        "Segmenter",
        "SqueezeReasoning",
        "create_model",
        "evaluate",
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
        "train",
    ]

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


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What tab completion shows: public names alone, which need not have been imported yet."""
    return sorted([*filter(_is_special, globals()), *_HOME, *_PACKAGES])


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
