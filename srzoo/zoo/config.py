"""The configuration of a model. It is stored in the header of a weights file, which makes the file self-contained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..data.bands import MAX_CHANNELS
from ..labels import LabelSet
from ..labels.own import MAX_NAME, MAX_OUTPUTS
from ..untrusted.values import Value, parse_json
from .transform import FITS, Transform

# Limits of what a file can ask for. The memory for the weights is bounded by the file itself, whose tensors must fit;
# that for an image is bounded by these.
MAX_SHORT_SIDE, MAX_LONG_SIDE = 4096, 16384
_MAX_PIXELS = MAX_SHORT_SIDE * MAX_LONG_SIDE


@dataclass(frozen=True)
class ModelConfig:
    """Everything that is needed to build a model and to use it on an image.

    Attributes:
        name: the entry or architecture that the model was built from.
        network: a key of `srzoo.models.NETWORKS`.
        task: name of the task, e.g. "semantic".
        options: keyword arguments of the network's class, without ``num_classes``.
        labels: names and colours of the classes.
        transform: from an image to the model's input.
        thresholds: of a detector, those that suit these weights, such as the least score of an object: fields of the
            task's ``View`` by name, whose defaults they replace.
    """

    name: str
    network: str
    task: str
    options: dict = field(hash=False)
    labels: LabelSet
    transform: Transform
    thresholds: dict = field(default_factory=dict, hash=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order of id."""
        return self.labels.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour (0..255) for each class, in order of id."""
        return self.labels.palette

    def with_thresholds(self, thresholds: Mapping[str, Any]) -> ModelConfig:
        """The same with other thresholds.

        Raises:
            ValueError: models of this task have no such threshold, or a value is out of range.
        """
        return dataclasses.replace(self, thresholds=_thresholds(Value(thresholds, self.name, "thresholds"), self.task))

    def to_json(self) -> str:
        """The configuration as JSON, for the header of a weights file."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, origin: str = "the header") -> ModelConfig:
        """The inverse of `to_json`. It also reads the headers of older files, see `_present`.

        Args:
            text: the JSON, which anyone may have written.
            origin: name of the file, for errors.

        Raises:
            ValueError: the text is not a configuration of srzoo, or a value is out of range.
        """
        values = _present(parse_json(text, f"{origin} is not a configuration of srzoo"))
        return cls(
            name=values["name"].text(),
            network=values["network"].text(64),
            task=values["task"].text(64),
            options={name: value.plain() for name, value in values["options"].keys(64).items()},
            labels=_labels(values["labels"]),
            transform=_transform(values["transform"]),
            thresholds=_thresholds(found, values["task"].text(64)) if (found := values.get("thresholds")) else {},
        )


def _present(values: Value) -> Value:
    """The header of a file of any version, with the keys of the present version.

    Older headers have ``classes`` and ``palette`` instead of ``labels``, and ``family`` instead of ``network``. The
    oldest have no ``family`` either, because all networks were SRNet. All older networks are for semantic segmentation.
    """
    found = values.keys(64)
    if "labels" in found:
        return values
    labels = {"classes": values["classes"].found, "palette": values["palette"].found}
    older = {"network": values.found.get("family", "srnet"), "task": "semantic", "labels": labels, **values.found}
    return Value(older, values.where)


def _labels(values: Value) -> LabelSet:
    classes: dict[str, None] = {}
    for name in values["classes"].items(1, MAX_OUTPUTS):
        if name.text(MAX_NAME) in classes:
            name.fail("another name than those of the classes before it")
        classes[name.found] = None
    colours = values["palette"].items(most=MAX_OUTPUTS)
    if len(colours) != len(classes):
        raise ValueError(f"{values.where}: labels has {len(classes)} classes but {len(colours)} colours")
    palette = tuple(tuple(channel.whole(0, 255) for channel in colour.items(3, 3)) for colour in colours)
    things = values.get("things")
    if things is not None:
        things = tuple(each.flag() for each in things.items(len(classes), len(classes)))
    return LabelSet(tuple(classes), palette, things)


def _transform(values: Value) -> Transform:
    values["short_side"]  # the only key without a default
    found = {}
    for name, value in values.keys().items():
        if name not in _TRANSFORM:
            value.fail(f"left out; the keys are {', '.join(_TRANSFORM)}")
        found[name] = _TRANSFORM[name](value)
    mean, std = (len(found.get(name, getattr(Transform, name))) for name in ("mean", "std"))
    if mean != std:
        raise ValueError(f"{values.where}: transform has mean for {mean} channels, and std for {std}")
    return Transform(**found)


def _numbers(low: float) -> Callable[[Value], tuple[float, ...]]:
    """Reads a number for each channel, whose pixels are in 0..1."""
    return lambda value: tuple(float(each.number(low, 1e4)) for each in value.items(1, MAX_CHANNELS))


def _thresholds(values: Value, task: str) -> dict[str, float]:
    known, found = _THRESHOLDS.get(task, {}), {}
    for name, value in values.keys(64).items():
        if name not in known:
            value.fail(f"left out; {task} models have {', '.join(known) or 'none'}")
        found[name] = known[name](value)
    return found


def _share(value: Value) -> float:
    return float(value.number(0, 1))


# The thresholds that a model of each task can bring, and how each is read.
_THRESHOLDS: dict[str, dict[str, Callable[[Value], float]]] = {
    "instance": {"score": _share},
    "panoptic": {"score": _share, "overlap": _share, "stuff_area": lambda value: value.whole(0, _MAX_PIXELS)},
}

# How each value of a transform is read.
_TRANSFORM: dict[str, Callable[[Value], Any]] = {
    "short_side": lambda value: value.whole(1, MAX_SHORT_SIDE),
    "max_pixels": lambda value: value.whole(Transform.MIN_SIDE**2, _MAX_PIXELS),
    "mean": _numbers(-1e4),
    "std": _numbers(1e-4),
    "multiple": lambda value: value.whole(1, MAX_SHORT_SIDE),
    "long_side": lambda value: None if value.found is None else value.whole(1, MAX_LONG_SIDE),
    "fit": lambda value: value.one_of(*FITS),
}
