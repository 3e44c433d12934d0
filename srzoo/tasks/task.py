"""What a task is: everything that trains, measures or shows a model asks its task. Imports no torch.

A new task is a folder beside this file with an object like `Task` in it, and a line in `TASKS`. Nothing else in
``train/``, ``evaluate/``, ``predict.py`` or ``cli/`` knows which tasks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ..options import build, read

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import Dataset

    from ..data.check import Report
    from ..data.samples import ImageData
    from ..zoo.config import ModelConfig
    from ..zoo.transform import Transform

# The endings of the pictures that results are saved as, which a folder of images is not read for.
RESULT_ENDINGS = ("_labels", "_overlay")


@dataclass(frozen=True)
class Score:
    """What was measured on a split.

    Attributes:
        headline: which of the figures stands for all, e.g. "mIoU".
        figures: as fractions.
        by_class: some of the figures for each class; None for a class that does not occur.
        facts: numbers that the figures depend on, such as how many pixels were counted.
    """

    headline: str
    figures: dict[str, float]
    by_class: dict[str, dict[str, float | None]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The headline's figure."""
        return self.figures[self.headline]


class Found(NamedTuple):
    """One line of what a result holds: a class, how much or how sure, and the colour it is drawn in."""

    name: str
    value: str
    colour: tuple[int, int, int]


class Result(Protocol):
    """What a model finds in one image, at the image's own size.

    Attributes:
        image: the input as upright RGB.
    """

    image: Image.Image

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """What was found, drawn over the image."""

    def save(self, base: Path) -> list[Path]:
        """Write the result's files, whose names begin with that of ``base``; returns their paths."""

    def to_dict(self) -> dict[str, Any]:
        """What was found, as JSON can hold it."""

    def found(self) -> list[Found]:
        """What was found, the most important first."""


class View(Protocol):
    """A dataclass: how images are shown to a model when it is used or measured. The default is what `Segmenter` does.

    Its fields are options of ``srzoo eval``: made by `srzoo.options.option`, each with a default.
    """

    def sentence(self, transform: Transform) -> str:
        """The view in words, with a model's transform, as a receipt has it."""


class Meter(Protocol):
    """Gathers results, and scores them together. It is pickled to be merged with those of other processes."""

    def update(self, result: Any, sample: Any) -> float | None:
        """Count one image; returns its own headline figure, or None where it has nothing to measure."""

    def merge(self, other: Meter) -> None:
        """Count what another meter has counted."""

    def score(self) -> Score | None:
        """The figures over all images; None where none had anything to measure."""


class Objective(Protocol):
    """The losses of a training run."""

    def __call__(self, forward: Callable, batch: Any) -> dict[str, torch.Tensor]:
        """Named scalars, whose sum is minimised.

        Args:
            forward: the model as it is to be called: compiled, and wrapped where several processes share a gradient.
            batch: what the loader gave, on the CPU.
        """


class Export(Protocol):
    """Writes predictions as a benchmark's server takes them. It is pickled to be merged, as a `Meter`."""

    def paths(self, names: Sequence[str]) -> list[Path]:
        """The files that images of these names become."""

    def add(self, result: Any, name: str) -> None:
        """Take one image's result, under a name that no other image has."""

    def merge(self, other: Export) -> None:
        """Take what another process has."""

    def finish(self) -> None:
        """Write what can only be written when all images are there."""


@dataclass(frozen=True)
class StepContext:
    """What an objective has to know of the run.

    Attributes:
        device: where the model is.
        parts: in how many parts a step's batch is computed, over all processes.
        autocast: enters the run's mixed precision, for networks beside the model.
    """

    device: torch.device
    parts: int
    autocast: Callable[[], AbstractContextManager]


class Task(Protocol):
    """A task.

    Attributes:
        name: as in `TASKS`; a model's is ``model.task``.
        headline: of its scores.
        Options: a dataclass, the task's block of a recipe: losses and augmentation. Its fields are made by
            `srzoo.options.option`.
        View: see `View`.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    Options: ClassVar[type]
    View: ClassVar[type]

    def fine_tuning(self) -> Mapping[str, Any]:
        """The keys of `Options` that differ from their defaults where a user's own images are trained on."""

    def check(self, splits: Mapping[str, ImageData], num_classes: int | None, root: str, training: bool) -> None:
        """Read some files of each split before a long run.

        Args:
            splits: by name.
            num_classes: of the model; None for the data's own.
            root: as the user gave it, for the message.
            training: whether the run trains on them, or only measures.

        Raises:
            ValueError: what is wrong first, in one line.
        """

    def describe(self, report: Report) -> list[str]:
        """The lines of ``srzoo data check`` about the annotations."""

    def proposed_options(self, report: Report) -> list[str]:
        """The options of ``srzoo train`` that a checked dataset calls for, each with its values."""

    def samples(self, data: ImageData, options: Any, short_side: int | None, seed: int) -> Dataset:
        """The training samples: item ``position`` is that of image ``position % len(data)``, drawn from its own seed.

        A batch ends with the images' indices, an int64 tensor. The dataset may have a ``collate`` for its loader.

        Args:
            options: an instance of `Options`.
            short_side: of an image at scale 1, in pixels; None for its own.
            seed: of the run.
        """

    def objective(self, model: nn.Module, data: ImageData, options: Any, context: StepContext) -> Objective:
        """The losses of a run; made before the optimiser, so it may freeze what they leave out.

        Raises:
            ValueError: options, data and model contradict each other.
        """

    def check_view(self, model: nn.Module, view: Any) -> None:
        """Refuse a view that the model cannot be used by.

        Raises:
            ValueError: what does not fit.
        """

    def predict(self, model: nn.Module, image: Image.Image, view: Any) -> Result:
        """What a model finds in an RGB image.

        Args:
            model: in evaluation mode, fused or not.
        """

    def meter(self, config: ModelConfig, device: torch.device, brief: bool = False) -> Meter:
        """A meter for a model of this configuration.

        Args:
            device: where it counts.
            brief: only what the headline needs, as in training after an epoch.
        """

    def comparison(self, result: Any, sample: Any, config: ModelConfig) -> Image.Image:
        """A picture that shows where a result differs from the sample's annotation."""

    def export(self, folder: Path, config: ModelConfig) -> Export:
        """What writes predictions into a folder that exists."""


def make_view(task: Task, values: Mapping[str, Any]) -> Any:
    """An instance of a task's `View`.

    Raises:
        ValueError: an option that it lacks, or a value that it refuses.
    """
    return build(task.View, read(task.View, values))


# A task, or where it is.
TASKS: dict[str, str | Task] = {"semantic": "srzoo.tasks.semantic.task.SemanticTask"}


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
