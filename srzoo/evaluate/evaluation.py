"""Evaluation of a model on a split, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from tqdm import tqdm

from ..data.bands import picture_of
from ..models.base import ZooModel
from ..tasks.task import Result, Score, get_task, make_view
from .distributed import gather, is_main_process, rank, world

Samples = Sequence[tuple]  # each an 8-bit RGB array (H, W, 3) and its annotation


class Mergeable(Protocol):
    """Something that each process accumulates, such as a meter."""

    def merge(self, other: Any) -> None: ...


M = TypeVar("M", bound=Mergeable)


class Prediction(NamedTuple):
    """The result of a model for one image of a dataset.

    Attributes:
        index: index of the image in the dataset.
        sample: the item of the dataset at this index.
        result: the result of the model's task.
    """

    index: int
    sample: tuple
    result: Result


@torch.inference_mode()
def predictions(model: ZooModel, dataset: Samples, view: Any = None, progress: bool = False) -> Iterator[Prediction]:
    """Run a model on every image of a dataset. Several processes share the images between them.

    The model is in evaluation mode meanwhile, and in its former mode afterwards.

    Args:
        model: the model; its transform prepares each image, as in `Segmenter`.
        dataset: the first entry of each item is an 8-bit RGB array ``(H, W, 3)``, or ``(H, W, C)`` float32 in 0..255
            for a model of another number of channels.
        view: an instance of the ``View`` of the model's task; None for the one that figures are measured with.
        progress: show a progress bar.
    """
    task = get_task(model.task)
    view = make_view(task, {}, measured=True, config=model.config) if view is None else view
    was_training = model.training
    model.eval()
    indices = range(rank(), len(dataset), world())
    try:
        for index in tqdm(indices, disable=None if progress and is_main_process() else True, unit="image", leave=False):
            sample = dataset[index]
            yield Prediction(index, sample, task.predict(model, picture_of(sample[0]), view, brief=True))
    finally:
        model.train(was_training)


def merged(part: M) -> M:
    """Merge what the processes have accumulated. Every process has to call it, and gets the whole."""
    for place, other in enumerate(gather(part)):
        if place != rank():
            part.merge(other)
    return part


def evaluate(
    model: ZooModel, dataset: Samples, view: Any = None, progress: bool = False, brief: bool = False
) -> Score | None:
    """The score of a model on a dataset; None if nothing in it is annotated.

    With several processes every process has to call it, and gets the score over the whole dataset.

    Args:
        model, dataset, view, progress: as for `predictions`.
        brief: compute only the headline figure, which may be faster.
    """
    device, task = next(model.parameters()).device, get_task(model.task)
    view = make_view(task, {}, measured=True, config=model.config) if view is None else view
    meter = task.meter(model.config, device, brief, view)
    for _, sample, result in predictions(model, dataset, view, progress):
        meter.update(result, sample)
    return merged(meter).score()
