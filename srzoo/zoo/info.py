"""What the zoo holds, without building it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from . import registry
from .datasets import ANY_DATASET, DATASETS
from .published import PUBLISHED, Weights
from .transform import Transform
from .weights import is_model_file, read_config

if TYPE_CHECKING:
    from ..models import ZooModel

_CODE_LICENCE = "srzoo: Apache-2.0"


@dataclass(frozen=True)
class ModelInfo:
    """Facts about an entry. Those that only its network knows import torch when asked for, and build it without memory.

    Attributes:
        name: as `create_model` takes it.
        description: what it is, in words.
        task: what it is for, such as "semantic".
        architecture, dataset: its two halves; the dataset is None for a bare architecture.
        classes, palette: class names and RGB colours in order of id; empty without a dataset.
        weights: the published file, or None.
        licence: the chain: srzoo's code, the backbone's weights, the dataset.
        recipe: name of the recipe that trains it; None without a dataset.
    """

    name: str
    description: str
    task: str
    architecture: str
    dataset: str | None
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    weights: Weights | None
    licence: tuple[str, ...]
    recipe: str | None

    @property
    def metrics(self) -> dict | None:
        """The receipt of the published weights: figures, protocol and the command that repeats them."""
        return self.weights.receipt() if self.weights else None

    @property
    def transform(self) -> Transform:
        """How an image becomes the model's input; for "srnet", which has no backbone, without its multiple."""
        if self._model is None:
            return registry.default_transform(self.architecture, self.dataset)
        return self._model.config.transform

    @property
    def input_size(self) -> tuple[int, int]:
        """``(H, W)`` that `macs` is counted at: the dataset's frame under the transform."""
        return self.transform.input_size(*DATASETS.get(self.dataset, ANY_DATASET).frame)

    @property
    def parameters(self) -> int | None:
        """Parameters of the model, auxiliary head included; None for "srnet", which has no backbone."""
        return None if self._model is None else sum(p.numel() for p in self._model.parameters())

    @cached_property
    def macs(self) -> int | None:
        """Multiply-adds of one image at `input_size`, as executed, without the auxiliary head; None for "srnet"."""
        return None if self._model is None else self._model.cost(self.input_size)

    @cached_property
    def _model(self) -> ZooModel | None:
        """The model on the meta device; without a dataset it has 19 classes."""
        if not registry.ARCHITECTURES[self.architecture].has_backbone:
            return None
        import torch

        from .factory import create_model

        with torch.device("meta"):
            return create_model(self.name, num_classes=len(self.classes) or 19)


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Names that match a shell pattern; with ``pretrained`` only those with published weights."""
    return [name for name in registry.match_names(pattern) if not pretrained or name in PUBLISHED]


def model_info(name: str) -> ModelInfo:
    """Facts about a name.

    Raises:
        ValueError: no such name; the message has the nearest one.
    """
    architecture, dataset = registry.split_name(name)
    entry = registry.ARCHITECTURES[architecture]
    labels = DATASETS[dataset].labels[entry.task] if dataset else None
    weights = PUBLISHED.get(name)
    classes = f"the {len(labels.classes)} classes of {DATASETS[dataset].title}" if labels else "any number of classes"
    return ModelInfo(
        name=name,
        description=f"{entry.description}, for {classes}",
        task=entry.task,
        architecture=architecture,
        dataset=dataset,
        classes=labels.classes if labels else (),
        palette=labels.palette if labels else (),
        weights=weights,
        licence=weights.licence if weights else licence_chain(architecture, dataset),
        recipe=name if dataset else None,
    )


def task_of(model: str) -> str:
    """The name of a model's task, by the model's name or by the header of one of srzoo's files.

    Raises:
        ValueError: no such name, or another file.
        FileNotFoundError: no such file.
    """
    if is_model_file(model):
        return read_config(model).task
    return registry.ARCHITECTURES[registry.split_name(model)[0]].task


def licence_chain(architecture: str, dataset: str | None) -> tuple[str, ...]:
    """Whose terms a model's weights are under: srzoo's code, the backbone's weights, the dataset."""
    backbone = registry.ARCHITECTURES[architecture].backbone.licence
    data = DATASETS.get(dataset, ANY_DATASET).licence
    return tuple(licence for licence in (_CODE_LICENCE, backbone, data) if licence)
