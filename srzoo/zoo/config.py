"""The configuration of a model. It is stored in the header of a weights file, which makes the file self-contained."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from ..labels import LabelSet
from ..messages import one_line
from .transform import Transform


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
    """

    name: str
    network: str
    task: str
    options: dict = field(hash=False)
    labels: LabelSet
    transform: Transform

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order of id."""
        return self.labels.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour (0..255) for each class, in order of id."""
        return self.labels.palette

    def to_json(self) -> str:
        """The configuration as JSON, for the header of a weights file."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """The inverse of `to_json`. It also reads the headers of older files, see `_present`.

        Raises:
            ValueError: the text is not a configuration of srzoo.
        """
        try:
            values = _present(json.loads(text))
            return cls(
                name=str(values["name"]),
                network=str(values["network"]),
                task=str(values["task"]),
                options={key: tuple(v) if isinstance(v, list) else v for key, v in values["options"].items()},
                labels=_labels(**values["labels"]),
                transform=Transform.from_dict(values["transform"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a configuration of srzoo: {type(error).__name__}: {one_line(error)}") from error


def _present(values: dict) -> dict:
    """The header of a file of any version, with the keys of the present version.

    Older headers have ``classes`` and ``palette`` instead of ``labels``, and ``family`` instead of ``network``. The
    oldest have no ``family`` either, because all networks were SRNet. All older networks are for semantic segmentation.
    """
    if "labels" in values:
        return values
    labels = {"classes": values["classes"], "palette": values["palette"]}
    return {"network": values.get("family", "srnet"), "task": "semantic", "labels": labels, **values}


def _labels(classes: list[str], palette: list[list[int]], things: list[bool] | None = None) -> LabelSet:
    return LabelSet(
        classes=tuple(str(name) for name in classes),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in palette),
        things=None if things is None else tuple(bool(thing) for thing in things),
    )
