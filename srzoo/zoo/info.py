"""Facts about the models of the zoo, without building them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..labels.own import numbered_labels
from . import registry
from .datasets import ANY_DATASET, DATASETS
from .foreign.download import DOWNLOADED, Download
from .published import PUBLISHED, Weights
from .remote import is_remote, remote_file
from .transform import Transform
from .weights import is_model_file, is_onnx_file, read_config

if TYPE_CHECKING:
    from ..models import ZooModel

_CODE_LICENCE = "srzoo: Apache-2.0"
# For facts about an entry without a dataset: as many classes as Cityscapes has, and as many things among them.
_ANY_LABELS = dataclasses.replace(numbered_labels(19), things=(False,) * 11 + (True,) * 8)


@dataclass(frozen=True, repr=False)
class ModelInfo:
    """Facts about an entry.

    The properties `transform`, `input_size`, `parameters` and `macs` depend on the network. They import torch on first
    use, and build the model on the meta device.

    Attributes:
        name: as `create_model` takes it.
        description: one phrase.
        task: name of the task, e.g. "semantic".
        architecture, dataset: the two parts of the name; the dataset is None for an architecture alone.
        classes, palette: names and RGB colours (0..255) of the classes in order of id; empty without a dataset.
        weights: the published file, or None.
        download: another project's file, which ``pretrained=True`` downloads instead; or None.
        licence: the terms of srzoo's code, of the backbone's weights and of the dataset.
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
    download: Download | None
    licence: tuple[str, ...]
    recipe: str | None

    def __repr__(self) -> str:
        return f"ModelInfo({self.name}: {self.description})"

    @property
    def needs_backbone(self) -> bool:
        """True for an entry such as "srnet", which takes the name of any timm backbone and has none of its own."""
        return not registry.ARCHITECTURES[self.architecture].has_backbone

    @property
    def metrics(self) -> dict | None:
        """The receipt of the published weights: figures, protocol and the command that reproduces them; or None."""
        return self.weights.receipt() if self.weights else None

    @property
    def transform(self) -> Transform:
        """From an image to the model's input; without the multiple if the entry needs a backbone."""
        if self._model is None:
            return registry.default_transform(self.architecture, self.dataset)
        return self._model.config.transform

    @property
    def thresholds(self) -> dict[str, float]:
        """Those that the published weights bring, see `ModelConfig`."""
        return read_config(self.weights.path).thresholds if self.weights else {}

    @property
    def input_size(self) -> tuple[int, int]:
        """``(H, W)`` of the model's input in pixels for a typical frame of the dataset."""
        return self.transform.input_size(*DATASETS.get(self.dataset, ANY_DATASET).frame)

    @property
    def parameters(self) -> int | None:
        """Number of parameters, with the auxiliary head; None if the entry needs a backbone."""
        return None if self._model is None else sum(p.numel() for p in self._model.parameters())

    @cached_property
    def macs(self) -> int | None:
        """Multiply-adds of one image at `input_size`, without the auxiliary head; None if it needs a backbone."""
        return None if self._model is None else self._model.cost(self.input_size)

    @cached_property
    def _model(self) -> ZooModel | None:
        """The model on the meta device, with 19 classes if there is no dataset; None if it needs a backbone."""
        if self.needs_backbone:
            return None
        import torch

        from .factory import create_model

        with torch.device("meta"):
            return create_model(self.name, labels=None if self.classes else _ANY_LABELS)


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """List the names of models.

    Args:
        pattern: shell pattern that the names must match, e.g. "srnet_*".
        pretrained: list only names with weights, published by srzoo or downloaded from another project.

    Raises:
        ValueError: the pattern is not a string.
    """
    weights = {*PUBLISHED, *DOWNLOADED}
    return [name for name in registry.match_names(pattern) if not pretrained or name in weights]


def model_info(name: str) -> ModelInfo:
    """Return the facts about a model.

    Args:
        name: one of `list_models`.

    Raises:
        ValueError: unknown name; the message suggests the nearest one.
    """
    architecture, dataset = registry.split_name(name)
    entry = registry.ARCHITECTURES[architecture]
    labels = DATASETS[dataset].labels[entry.task] if dataset else None
    weights, download = PUBLISHED.get(name), DOWNLOADED.get(name)
    terms = weights or download
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
        download=download,
        licence=terms.licence if terms else licence_chain(architecture, dataset),
        recipe=name if dataset else None,
    )


def task_of(model: str) -> str:
    """The name of a model's task.

    Args:
        model: the name of a model, a model elsewhere, or the path of one of srzoo's ``.safetensors`` files, of which
            only the header is read, or of an exported ``.onnx`` file.

    Raises:
        ValueError: unknown name, or the file is not one of srzoo's.
        FileNotFoundError: no such file.
    """
    if is_remote(model):
        return read_config(remote_file(model)).task
    if is_model_file(model):
        return read_config(model).task
    if is_onnx_file(model):
        return "semantic"  # the one whose exported files can be run, see `srzoo.export.onnx_model`
    return registry.ARCHITECTURES[registry.split_name(model)[0]].task


def licence_chain(architecture: str, dataset: str | None) -> tuple[str, ...]:
    """The terms that apply to trained weights: those of srzoo's code, the backbone's weights and the dataset."""
    backbone = registry.ARCHITECTURES[architecture].backbone.licence
    data = DATASETS.get(dataset, ANY_DATASET).licence
    return tuple(licence for licence in (_CODE_LICENCE, backbone, data) if licence)
