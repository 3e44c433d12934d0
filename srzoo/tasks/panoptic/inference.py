"""From one image to its segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from PIL import Image

from srzoo_kernels import panoptic_merge, upsample_argmax

from ...data.bands import Bands, shown
from ...models.base import check_results
from ...models.panoptic_fpn import PanopticFPN
from ..instance.inference import detect, pasted
from .result import FoundSegment, Panoptic
from .view import View

_HELD = 1 << 28  # pixels of masks that are held at a time: 256 MiB


def segments(model: PanopticFPN, image: Image.Image | Bands, view: View) -> Panoptic:
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
    is_stuff = torch.arange(1 + len(model.stuff_ids), device=labels.device) > 0
    ids, areas = merged(pasted(found, size, model.aligned), labels, is_stuff, view.overlap, view.stuff_area)
    return _result(model, image, ids.cpu().numpy(), areas.tolist(), found)


def merged(
    parts: Iterable[tuple[torch.Tensor, torch.Tensor]],
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    overlap: float,
    stuff_area: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`srzoo_kernels.panoptic_merge` over masks of which a bounded number of pixels is held at a time.

    Args:
        parts: ``pixels`` and ``windows`` of some instances each, as `pasted` yields them, in order of falling score.
        labels, is_stuff, overlap, stuff_area: as the operator has them.

    Returns:
        ``ids`` and ``areas`` as the operator returns them for all instances together.
    """
    ids, areas, before = None, [], 0
    for pixels, windows, is_last in _groups(parts, labels.device):
        if before:  # instance 0 of this call is all that the earlier ones claimed
            pixels = torch.cat([(ids > 0).to(torch.uint8).flatten(), pixels])
            windows = torch.cat([torch.tensor([[0, 0, labels.shape[1], labels.shape[0]]]), windows])
        least = stuff_area if is_last else labels.numel() + 1  # the last call alone adds surfaces
        new, found = panoptic_merge(pixels, windows, labels, is_stuff, overlap, least)
        if before:
            new, found = torch.where(new > 1, new + (before - 1), ids), found[1:]
        ids = new
        areas.append(found if is_last else found[: -len(is_stuff)])
        before += len(areas[-1])
    return ids, torch.cat(areas)


def _groups(
    parts: Iterable[tuple[torch.Tensor, torch.Tensor]], device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor, bool]]:
    """Neighbours put together to at most ``_HELD`` pixels where several are that few, and whether it is the last."""
    pixels = [torch.zeros(0, dtype=torch.uint8, device=device)]
    windows, held = [torch.zeros((0, 4), dtype=torch.int64)], 0
    for part, own in parts:
        if held and held + len(part) > _HELD:
            yield torch.cat(pixels), torch.cat(windows), False
            pixels, windows, held = [], [], 0
        pixels, windows, held = [*pixels, part], [*windows, own], held + len(part)
    yield torch.cat(pixels), torch.cat(windows), True


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
    model: PanopticFPN, image: Image.Image | Bands, ids: np.ndarray, areas: list[int], found: dict[str, torch.Tensor]
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
    return Panoptic(shown(image), table[ids], kept, model.config.labels)
