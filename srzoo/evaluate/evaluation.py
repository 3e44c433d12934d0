"""Evaluate a model on a split, at the annotations' own size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from ..distributed import rank, world
from ..labels import IGNORE
from ..tasks.semantic.inference import image_logits, mean_labels
from ..tasks.semantic.metrics import ConfusionMatrix
from ..tasks.semantic.protocol import Protocol

Samples = Sequence[tuple[np.ndarray, np.ndarray]]


class Prediction(NamedTuple):
    """What a model says of one image of a data set.

    Attributes:
        index: of the image in the data set.
        labels: ``(H, W)`` class ids, on the model's device.
        target: ``(H, W)`` int64 ids of the annotation there; -1 where it has none.
    """

    index: int
    labels: torch.Tensor
    target: torch.Tensor


@torch.inference_mode()
def predictions(
    model: nn.Module, dataset: Samples, protocol: Protocol | None = None, progress: bool = False
) -> Iterator[Prediction]:
    """The model's labels of every image; under `torch.distributed` of this process's share, so of each image once.

    Args:
        model: with its `ModelConfig`; its transform prepares each image, as in `Segmenter`.
        dataset: of ``(image, ids)`` uint8 arrays, ``(H, W, 3)`` and ``(H, W)``.
        protocol: default a single scale, whole images, no flip.
        progress: show a bar.
    """
    was_training = model.training
    model.eval()
    indices = range(rank(), len(dataset), world())
    try:
        for index in tqdm(indices, disable=None if progress and not rank() else True, unit="image", leave=False):
            image, ids = dataset[index]
            passes = image_logits(model, Image.fromarray(image), protocol or Protocol())
            labels = mean_labels(passes, ids.shape, model.align_corners)[0]
            target = torch.from_numpy(ids).to(labels.device, torch.int64)
            yield Prediction(index, labels, torch.where(target == IGNORE, -1, target))
    finally:
        model.train(was_training)


def evaluate(
    model: nn.Module, dataset: Samples, protocol: Protocol | None = None, progress: bool = False
) -> ConfusionMatrix:
    """Confusion matrix of ``model`` over ``dataset``, at the annotations' resolution; arguments as `predictions`.

    Under `torch.distributed` every process has to call it, and gets the matrix of the whole data set.
    """
    matrix = ConfusionMatrix(len(model.config.classes))
    for prediction in predictions(model, dataset, protocol, progress):
        matrix.update(prediction.labels, prediction.target)
    matrix.gather()
    return matrix
