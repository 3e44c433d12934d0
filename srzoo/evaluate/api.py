"""Evaluation from Python, on a folder or on your own dataset. Imports torch only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..labels import IGNORE
from .classes import in_order_of_model

if TYPE_CHECKING:
    from ..data.samples import ImageData
    from ..models.base import ZooModel
    from ..tasks.task import Score
    from ..zoo.config import ModelConfig


def evaluate(
    model: str | Path | ZooModel,
    data: Any = None,
    split: str = "val",
    *,
    void: int = IGNORE,
    reading: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: bool = True,
    **view: Any,
) -> Score | None:
    """The figures of a model on a dataset, as ``srzoo eval`` prints them.

    Args:
        model: a name with published weights, one of srzoo's ``.safetensors`` files, or a model from `create_model` or
            `load_model`, which is evaluated on the device where it is.
        data: the folder of a dataset, or your own dataset as for `srzoo.train`; None for the folder that the
            model of a run was trained on.
        split: which split of a folder.
        void: the value of unlabelled pixels in the masks of an own dataset.
        reading: how a folder is read, such as ``{"format": "voc"}``: the options ``--data.*`` of the command.
        device: for a name or a file: "auto" (the GPU if there is one), or a device of PyTorch.
        progress: show a progress bar.
        **view: how images are passed to the model, such as ``scales=(0.75, 1.0)`` and ``flip=True``: the fields of the
            ``View`` of the model's task.

    Returns:
        A `Score`: its ``figures`` by name as fractions, the most important being ``value``, and those of each class
        ``by_class``. None if nothing in the data is annotated.

    Raises:
        ValueError: an argument is invalid, or model and data do not fit together.
        FileNotFoundError: there is no such file, folder or split.
    """
    from ..data.own import own_data
    from ..tasks.task import get_task, make_view
    from .evaluation import evaluate as measured

    net = _prepared(model, device)
    task = get_task(net.task)
    chosen = make_view(task, view, measured=True, config=net.config)
    task.check_view(net, chosen)
    if data is None or isinstance(data, (str, Path)):
        given = {**(reading or {}), **({} if data is None else {"root": str(data)})}
        opened = _of_folder(model, net.config, split, given)
    else:
        labels = net.config.labels
        opened = in_order_of_model(own_data(data, split, net.task, labels, void, net.config.transform.channels), labels)
    return measured(net, opened, chosen, progress)


def _prepared(model: str | Path | ZooModel, device: str) -> ZooModel:
    import torch

    from ..models.base import check_zoo_model
    from ..models.folding import fuse
    from ..zoo.factory import trained_model

    if not isinstance(model, (str, Path)):
        check_zoo_model(model, "evaluate")
        return model
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return fuse(trained_model(model)).to(device, memory_format=torch.channels_last)


def _of_folder(model: Any, config: ModelConfig, split: str, given: Mapping[str, Any]) -> ImageData:
    from ..data.opening import open_dataset
    from ..tasks.task import get_task
    from .reading import reading_for

    if "root" not in given and not isinstance(model, (str, Path)):
        raise ValueError("data is needed, a folder or a dataset: a model that is no file of a run knows none")
    reading = reading_for(model if isinstance(model, (str, Path)) else "", config.task, given)
    root, count = reading.pop("root"), len(config.classes)
    data = open_dataset(root, split, num_classes=count, task=config.task, **reading)
    data.channels = config.transform.channels
    get_task(config.task).check({split: data}, count, root, training=False)
    return in_order_of_model(data, config.labels)
