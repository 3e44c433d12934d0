"""A model over a split, image by image, by its task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from PIL import Image
from tqdm import tqdm

from ..models.base import ZooModel
from ..tasks.task import Result, Score, get_task
from .distributed import gather, rank, world

Samples = Sequence[tuple]  # of an 8-bit RGB array (H, W, 3) and its annotation


class Mergeable(Protocol):
    def merge(self, other: Any) -> None: ...


M = TypeVar("M", bound=Mergeable)


class Prediction(NamedTuple):
    """What a model finds in one image of a dataset.

    Attributes:
        index: of the image in the dataset.
        sample: the dataset's own entry.
        result: the task's.
    """

    index: int
    sample: tuple
    result: Result


@torch.inference_mode()
def predictions(model: ZooModel, dataset: Samples, view: Any = None, progress: bool = False) -> Iterator[Prediction]:
    """What the model finds in every image; under `torch.distributed` in this process's share, so in each image once.

    Args:
        model: with its configuration, whose transform prepares each image, as in `Segmenter`.
        dataset: item ``i`` begins with an 8-bit RGB array ``(H, W, 3)``.
        view: the task's; default its usual one.
        progress: show a bar.
    """
    task = get_task(model.task)
    view = task.View() if view is None else view
    was_training = model.training
    model.eval()
    indices = range(rank(), len(dataset), world())
    try:
        for index in tqdm(indices, disable=None if progress and not rank() else True, unit="image", leave=False):
            sample = dataset[index]
            yield Prediction(index, sample, task.predict(model, Image.fromarray(sample[0]), view, brief=True))
    finally:
        model.train(was_training)


def merged(part: M) -> M:
    """Join what each process has gathered, in every process."""
    for place, other in enumerate(gather(part)):
        if place != rank():
            part.merge(other)
    return part


def evaluate(
    model: ZooModel, dataset: Samples, view: Any = None, progress: bool = False, brief: bool = False
) -> Score | None:
    """The score of ``model`` over ``dataset``; None where nothing in it is annotated. Arguments as of `predictions`.

    Under `torch.distributed` every process has to call it, and gets the score over the whole dataset.

    Args:
        brief: measure the headline alone, which may be quicker.
    """
    device = next(model.parameters()).device
    meter = get_task(model.task).meter(model.config, device, brief)
    for _, sample, result in predictions(model, dataset, view, progress):
        meter.update(result, sample)
    return merged(meter).score()
