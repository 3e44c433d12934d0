"""The splits that a run trains and is evaluated on. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from ..data.bands import RGB, check_channels
from ..data.opening import open_dataset
from ..data.reading import Reading
from ..data.samples import ImageData
from ..labels import LabelSet
from ..zoo.datasets import DATASETS
from ..zoo.info import task_of
from ..zoo.published import file_of
from ..zoo.registry import split_name
from ..zoo.weights import holds_model, read_config


def open_splits(
    reading: Reading, model: str, start: str, num_classes: int | None, channels: int = RGB
) -> dict[str, ImageData]:
    """Open the splits "train" and "val" of a folder.

    Args:
        reading: which dataset it is, and how it is read.
        model: name of the model.
        start: the recipe's start, whose file may say how many classes there are.
        num_classes: number of classes; None for that of the data, or else of the model.
        channels: of the images, as the model takes them.

    Raises:
        ValueError: the dataset cannot be opened, or neither data nor model has a number of classes.
    """
    splits = {
        split: open_dataset(split=split, num_classes=num_classes, task=task_of(model), **reading.given())
        for split in ("train", "val")
    }
    if num_classes is None and splits["train"].labels is None:
        root = reading.root
        of_model = own_classes(model, start)
        if of_model is None:
            raise ValueError(
                "unknown number of classes; pass --num_classes N, or write their names to "
                f"{Path(root, 'classes.txt')}, one per line; `srzoo data check {quote(str(root))}` counts them"
            )
        return open_splits(reading, model, start, of_model, channels)
    for data in splits.values():
        data.channels = channels
    return splits


def channels_of(model_options: Mapping, start: str) -> int:
    """The number of channels of a model's images, by the options of a recipe or by the file that it starts from.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    given = model_options.get("in_channels")
    if given is not None:
        check_channels(given)
    else:
        file = file_of(start)
        given = read_config(file).transform.channels if holds_model(file) else RGB
    return given


def own_classes(model: str, start: str) -> int | None:
    """The number of classes of a model, as of `labels_of`."""
    labels = labels_of(model, start)
    return None if labels is None else len(labels.classes)


def labels_of(model: str, start: str) -> LabelSet | None:
    """The classes of a model, by its file or its name; None for an architecture without a dataset."""
    if holds_model(file := file_of(start)):
        return read_config(file).labels
    dataset = split_name(model)[1]
    return None if dataset is None else DATASETS[dataset].labels[task_of(model)]
