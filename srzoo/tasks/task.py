"""The interface of a task. Whatever trains, evaluates or runs a model asks its task. Imports no torch.

To add a task, add a folder beside this file with a class that implements `Task`, and a line in `TASKS`. Nothing in
``train/``, ``evaluate/``, ``predict.py`` or ``cli/`` depends on which tasks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ..messages import nearest
from ..options import build, keys, read

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import Dataset

    from ..data.report import Report
    from ..data.samples import ImageData
    from ..zoo.config import ModelConfig
    from ..zoo.transform import Transform

# Endings of the names of saved results. `srzoo segment` skips such files when it reads a folder of images.
RESULT_ENDINGS = ("_labels", "_overlay", "_panoptic")


@dataclass(frozen=True)
class Score:
    """The figures of a model on a split.

    Attributes:
        headline: name of the most important figure, e.g. "mIoU"; the best epoch is that in which it is highest.
        figures: the figures over the split, by name, as fractions; higher is better.
        by_class: figures of each class, by name; None for a class that does not occur.
        facts: other numbers: what the figures depend on, such as the number of pixels counted, or errors with a unit.
    """

    headline: str
    figures: dict[str, float]
    by_class: dict[str, dict[str, float | None]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The headline figure."""
        return self.figures[self.headline]


class Found(NamedTuple):
    """One line of a printed result: a class, its share or score as text, and its RGB colour (0..255) in the overlay."""

    name: str
    value: str
    colour: tuple[int, int, int]


class Result(Protocol):
    """The result of a model for one image, at the size of the image; `srzoo.tasks.result.ImageResult` is a base.

    Attributes:
        image: the input as upright RGB.
    """

    image: Image.Image

    def overlay(self, alpha: float = 0.5, legend: bool = False) -> Image.Image:
        """The result drawn over the image, with colours of this opacity, from 0 (none) to 1 (nothing else)."""

    def save(self, base: Path, source: str = "", **options: Any) -> list[Path]:
        """Write the files of the result, and return their paths; their names start with the name of ``base``.

        Args:
            base: what the names of the files start with.
            source: name of the image.
            **options: fields of `srzoo.tasks.saving.Saving`.

        Raises:
            OSError: a file cannot be written, or would replace one that is no result of srzoo.
        """

    def to_dict(self) -> dict[str, Any]:
        """The result as values that JSON can hold."""

    def to_coco_json(self, file_name: str = "") -> dict[str, Any]:
        """A file of COCO's JSON for the image alone, whose name is ``file_name``."""

    def found(self) -> list[Found]:
        """The lines to print, the most important first."""


class View(Protocol):
    """A dataclass that says how images are passed to a model for prediction: scales, flips, tiles and the like.

    The fields are made by `srzoo.options.option` and have defaults, which are those of `Segmenter`. ``srzoo eval`` has
    an option for each.

    Attributes:
        MEASURED: fields whose default is another one where figures are measured, such as the least score of a
            detection.
        FROM_RECIPE: fields that `Task.Options` has, too, with the same meaning: what a recipe says holds for the
            figures on val. Others of the same name are another thing, as ``flip`` of the augmentation. Default none.
    """

    MEASURED: ClassVar[Mapping[str, Any]]
    FROM_RECIPE: ClassVar[tuple[str, ...]]

    def sentence(self, transform: Transform) -> str:
        """The view in words, for the protocol of a receipt; ``transform`` is the one of the model."""


class Meter(Protocol):
    """Accumulates results and computes their score. Processes send it to each other, so it can be pickled."""

    def update(self, result: Any, sample: Any) -> float | None:
        """Add one image, and return its own headline figure; None if nothing in it is annotated.

        Args:
            result: what `Task.predict` returned.
            sample: the item of the dataset, an image with its annotation.
        """

    def merge(self, other: Meter) -> None:
        """Add all images of another meter."""

    def score(self) -> Score | None:
        """The score over all images; None if nothing in them is annotated."""

    # A meter of classes of pixels also has ``confusion()``, which draws its confusion matrix.


class Objective(Protocol):
    """The losses of a training run."""

    def __call__(self, forward: Callable, batch: Any) -> dict[str, torch.Tensor]:
        """The terms of the loss by name, scalar tensors; their sum is minimized.

        Args:
            forward: calls the model, which may be compiled, or wrapped to share the gradient between processes.
            batch: a batch of the data loader, on the CPU.
        """


class Export(Protocol):
    """Writes predictions in the format that other people's tools, or the server of a benchmark, read.

    It can be pickled, as a `Meter`.
    """

    def paths(self, names: Sequence[str]) -> list[Path]:
        """The files that will be written for images of these names."""

    def is_own(self, path: Path) -> bool:
        """Whether a file that exists is of an earlier export, so that it may be replaced."""

    def add(self, result: Any, index: int, name: str) -> None:
        """Add the result of the image with this index in the dataset; ``name`` is unique."""

    def merge(self, other: Export) -> None:
        """Add the results of another process."""

    def finish(self) -> None:
        """Write the files that need the results of all images."""


@dataclass(frozen=True)
class StepContext:
    """What an `Objective` needs to know about the run.

    Attributes:
        device: the device of the model.
        parts: the number of parts that the batch of a step is cut into, over all processes.
        autocast: context manager of the run's mixed precision, to run another network, such as a teacher.
    """

    device: torch.device
    parts: int
    autocast: Callable[[], AbstractContextManager]


class Task(Protocol):
    """A task: what its models predict, and how they are trained and evaluated.

    Attributes:
        name: its name in `TASKS`, which its models have as ``model.task``.
        headline: name of the headline figure of its scores.
        Options: dataclass of the task's block in a recipe, with losses and augmentation. Its fields are made by
            `srzoo.options.option`.
        View: dataclass of the views, see `View`.
        endings: of the names of the files that hold a result, without those that every task has, see `Result.save`.
            With ``"_labels.png"`` among them, results are saved with `srzoo.tasks.saving.Saving.gray`, too.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    Options: ClassVar[type]
    View: ClassVar[type]
    endings: ClassVar[tuple[str, ...]]

    def fine_tuning(self) -> Mapping[str, Any]:
        """Values of `Options` for fine-tuning on a user's own images, as far as they differ from the defaults."""

    def check(self, splits: Mapping[str, ImageData], num_classes: int | None, root: str, training: bool) -> None:
        """Read some files of each split, to find errors before a long run.

        Args:
            splits: the datasets by the name of their split.
            num_classes: number of classes of the model; None for that of the data.
            root: the folder of the dataset as the user gave it, for the message.
            training: True before training, False before an evaluation.

        Raises:
            ValueError: something is wrong; the message is one line and names the first problem.
        """

    def describe(self, report: Report) -> list[str]:
        """The lines of ``srzoo data check`` about the annotations."""

    def proposed_options(self, report: Report) -> list[str]:
        """The options of ``srzoo train`` that a checked dataset calls for, each with its values."""

    def samples(self, data: ImageData, options: Any, transform: Transform | None, seed: int) -> Dataset:
        """The augmented samples for training.

        Item ``position`` is made from image ``position % len(data)``, with random numbers that depend only on ``seed``
        and ``position``. The last entry of a batch is an int64 tensor with the indices of its images. The dataset may
        have a method ``collate`` for the data loader.

        Args:
            data: the images and annotations.
            options: an instance of `Options`.
            transform: the model's, which gives the size of an image at scale 1; None for the size that it has.
            seed: seed of the run.
        """

    def objective(self, model: nn.Module, data: ImageData, options: Any, context: StepContext) -> Objective:
        """The losses of a run. It is made before the optimizer, so it may freeze parameters that the losses do not use.

        Args:
            model: the model to train.
            data: the dataset to train on.
            options: an instance of `Options`.
            context: the device, precision and parts of the run.

        Raises:
            ValueError: options, data and model contradict each other.
        """

    def check_view(self, model: nn.Module, view: Any) -> None:
        """Check that a model supports a view.

        Args:
            model: the model, fused or not.
            view: an instance of `View`.

        Raises:
            ValueError: the model does not support it.
        """

    def predict(self, model: nn.Module, image: Image.Image, view: Any, brief: bool = False) -> Result:
        """Run a model on one image.

        Args:
            model: the model in evaluation mode, fused or not.
            image: an RGB image of any size.
            view: an instance of `View`.
            brief: leave out of the result what is large and needed neither by a meter nor by the methods of `Result`.
        """

    def predict_batch(
        self, model: nn.Module, images: Sequence[Image.Image], view: Any, brief: bool = False
    ) -> list[Result]:
        """Run a model on several images, together where it can; else as `predict`."""

    def meter(self, config: ModelConfig, device: torch.device, brief: bool = False, view: Any = None) -> Meter:
        """A new meter for a model.

        Args:
            config: the configuration of the model.
            device: the device to compute on.
            brief: compute only the headline figure, as between epochs of training.
            view: an instance of `View`, which may also say what is part of the figures.
        """

    def comparison(self, result: Any, sample: Any, config: ModelConfig) -> Image.Image:
        """A picture that shows where a result differs from the annotation of its sample."""

    def export(self, path: Path, config: ModelConfig, data: ImageData) -> Export:
        """A new export of predictions for ``data`` to a folder, or to a file if the format is one file."""


def percent_of(share: float) -> str:
    """A share of an image in percent, for `Found`: what is there is not written as 0.0%."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def make_view(task: Task, values: Mapping[str, Any], measured: bool = False, config: ModelConfig | None = None) -> Any:
    """An instance of the `View` of a task.

    Args:
        task: the task.
        values: its fields by name; those not given have their defaults.
        measured: take the defaults with which figures are measured, see `View`.
        config: of the model that it is for, whose own thresholds come before the defaults of the class.

    Raises:
        ValueError: the view has no such field, or the value is invalid.
    """
    own = {} if config is None else config.thresholds
    unknown = [name for name in values if name not in keys(task.View)]
    if unknown:
        meant = nearest(unknown[0], keys(task.View))
        raise ValueError(
            f"{task.name} models have no option {unknown[0]!r}{meant}; they take {', '.join(keys(task.View))}"
        )
    return build(task.View, read(task.View, {**own, **(task.View.MEASURED if measured else {}), **values}))


# Each task by its name: the task, or the import path of its class.
TASKS: dict[str, str | Task] = {
    "semantic": "srzoo.tasks.semantic.task.SemanticTask",
    "instance": "srzoo.tasks.instance.task.InstanceTask",
    "panoptic": "srzoo.tasks.panoptic.task.PanopticTask",
}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ValueError: there is no such task.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; this version has {', '.join(TASKS)}")
    task = TASKS[name]
    if not isinstance(task, str):
        return task
    module, _, attribute = task.rpartition(".")
    return getattr(import_module(module), attribute)()
