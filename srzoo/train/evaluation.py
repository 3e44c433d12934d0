"""Evaluate a model on a split, at the images' own size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from srzoo_kernels import upsample_argmax

from ..data.labels import IGNORE
from .metrics import ConfusionMatrix


@torch.inference_mode()
def evaluate(model: nn.Module, dataset: Iterable, progress: bool = False) -> ConfusionMatrix:
    """Confusion matrix of ``model`` over ``dataset``: single scale, no flip, at the annotation's resolution.

    Args:
        model: with its `ModelConfig`; its transform prepares each image, as in `Segmenter`.
        dataset: of ``(image, ids)`` uint8 arrays, ``(H, W, 3)`` and ``(H, W)``.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(len(model.config.classes))
    samples = (dataset[index] for index in range(len(dataset)))
    for image, ids in tqdm(samples, total=len(dataset), disable=None if progress else True, unit="image", leave=False):
        x = model.config.transform(Image.fromarray(image)).to(device, memory_format=torch.channels_last)
        labels = upsample_argmax(model(x, upsample=False), ids.shape, model.config.align_corners)
        target = torch.from_numpy(ids)[None]
        matrix.update(labels, torch.where(target == IGNORE, -1, target.long()).to(device))
    model.train(was_training)
    return matrix
