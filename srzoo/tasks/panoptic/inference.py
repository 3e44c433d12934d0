"""From one image to its segments."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from srzoo_kernels import panoptic_merge, upsample_argmax

from ...models.base import check_results
from ...models.panoptic_fpn import PanopticFPN
from ..instance.inference import detect, pasted
from .result import FoundSegment, Panoptic
from .view import View


def segments(model: PanopticFPN, image: Image.Image, view: View) -> Panoptic:
    """The segments of one image, at the size of the image.

    Args:
        model: in evaluation mode; its transform prepares the image.
        image: RGB of any size.
        view: how objects and surfaces are merged.
    """
    found = detect(model, image, view.score, view.detections)
    check_results(logits=found["semantic"])
    size = image.height, image.width
    labels = semantic_labels(model, found["semantic"], size)
    parts = list(pasted(found, size, model.aligned))
    pixels = torch.cat([labels.new_zeros(0), *(part for part, _ in parts)])
    windows = torch.cat([torch.zeros((0, 4), dtype=torch.int64), *(part for _, part in parts)])
    is_stuff = torch.arange(1 + len(model.stuff_ids), device=labels.device) > 0
    ids, areas = panoptic_merge(pixels, windows, labels, is_stuff, view.overlap, view.stuff_area)
    return _result(model, image, ids.cpu().numpy(), areas.tolist(), found)


def semantic_labels(model: PanopticFPN, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The semantic head's output with the highest logit for each pixel of an image.

    Args:
        model: the model, whose transform prepared the image.
        logits: ``(K, h, w)``, which cover the network's input with its padding.
        size: ``(H, W)`` of the image in pixels.

    Returns:
        ``(H, W)`` uint8.
    """
    transform = model.config.transform
    padded, content = transform.input_size(*size), transform.content_size(*size)
    # The padding, enlarged like the image, is cut off afterwards. It is rounded to a pixel, over the whole width.
    whole = [round(side * own / inner) for side, own, inner in zip(padded, size, content)]
    return upsample_argmax(logits[None], tuple(whole))[0, : size[0], : size[1]].contiguous()


def _result(
    model: PanopticFPN, image: Image.Image, ids: np.ndarray, areas: list[int], found: dict[str, torch.Tensor]
) -> Panoptic:
    """Number the segments that have pixels from 1 on: objects by score, then surfaces."""
    scores, labels = found["scores"].tolist(), found["labels"].tolist()
    table = np.zeros(1 + len(areas), np.int32)
    kept = []
    for i, area in enumerate(areas):
        if area:
            table[1 + i] = 1 + len(kept)
            is_object = i < len(labels)
            class_id = labels[i] if is_object else model.stuff_ids[i - len(labels) - 1]
            kept.append(FoundSegment(1 + len(kept), class_id, area, scores[i] if is_object else None))
    return Panoptic(image, table[ids], kept, model.config.labels)
