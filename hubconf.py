"""Entries for ``torch.hub``. Only the dependencies below have to be installed.

torch.hub.load(REPO, "srnet_lite0_camvid", pretrained=True)
"""

import sys as _sys
from pathlib import Path as _Path

dependencies = ["torch", "torchvision", "timm", "numpy", "PIL", "safetensors"]

for _folder in (_Path(__file__).resolve().parent, _Path(__file__).resolve().parent / "kernels"):
    if str(_folder) not in _sys.path:
        _sys.path.insert(0, str(_folder))

import srzoo as _srzoo  # noqa: E402  (imports no torch)


def _entry(info):
    """The function that builds the model ``info.name``; torch.hub.help shows its docstring."""

    def entry(pretrained=False, **options):
        return _srzoo.create_model(info.name, pretrained=pretrained, **options)

    weights = "load the weights that ship with the package"
    if info.weights is None:
        weights = "this entry has no published weights; True is an error that lists the entries with weights"
    if info.download is not None:
        weights = f"download the weights of {info.download.project} once, and load them"
    classes = len(info.classes) or "num_classes"
    outputs = {
        "semantic": f"(N, {classes}, H, W) logits",
        "instance": f"a list of N dicts with boxes, scores, labels and masks of {classes} classes",
        "panoptic": f"a list of N dicts with boxes, scores, labels, masks and semantic logits of {classes} classes",
    }
    number = f"default {classes}" if info.classes else "required"
    if info.task == "panoptic":
        number += "; with things=, a list of whether each class is of countable objects"
    output = outputs.get(info.task, f"the output of a model of the task {info.task}")
    entry.__name__ = entry.__qualname__ = info.name
    entry.__doc__ = f"""{info.description}.

    pretrained (bool): {weights}
    num_classes (int): {number}
    options: any other of srzoo.create_model, such as context and pretrained_backbone (True or a file)

    Maps (N, 3, H, W) normalized floats, H and W >= 32, to {output}; model.config has
    the classes, the palette and the transform.
    """
    return entry


# Not those that need a backbone, such as "srnet".
_infos = map(_srzoo.model_info, _srzoo.list_models())
globals().update({_info.name: _entry(_info) for _info in _infos if not _info.needs_backbone})
