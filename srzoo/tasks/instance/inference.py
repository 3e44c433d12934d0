"""From one image to the objects in it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image

from srzoo_kernels import paste_masks
from srzoo_kernels.paste_masks.frames import aligned_frames, torchvision_frames

from ...data.bands import Bands, shown
from ...models.mask_rcnn import MaskRCNN
from .masks import PackedMasks
from .result import Instances
from .view import View

_PASTED = 1 << 23  # pixels of masks that are pasted at a time: 8 MiB


def detect(model: MaskRCNN, image: Image.Image | Bands, score: float, detections: int) -> dict[str, torch.Tensor]:
    """Run a detector on one image.

    Args:
        model: in evaluation mode; its transform prepares the image.
        image: of any size.
        score: least score.
        detections: number of detections at most.

    Returns:
        What the model returns for the image, with boxes in pixels of ``image``.
    """
    transform, like = model.config.transform, next(model.parameters())
    content = transform.content_size(image.height, image.width)
    x = transform(image).to(like.device, like.dtype, memory_format=torch.channels_last)
    (found,) = model(x, [content], score=score, count=detections)
    factors = torch.tensor([image.width / content[1], image.height / content[0]] * 2, device=like.device)
    return {**found, "boxes": found["boxes"] * factors}


def pasted(
    found: dict[str, torch.Tensor], size: tuple[int, int], aligned: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The masks of detections at the size of the image, some at a time.

    Args:
        found: ``boxes`` ``(n, 4)`` in pixels of the image and ``masks`` ``(n, 28, 28)``.
        size: ``(H, W)`` of the image in pixels.
        aligned: whether masks cover exactly their boxes; else boxes are enlarged to whole pixels as in torchvision.

    Yields:
        ``pixels`` ``(T,)`` uint8 and ``windows`` ``(m, 4)`` int64, as `srzoo_kernels.paste_masks` has them.
    """
    boxes, masks = found["boxes"], found["masks"]
    if aligned:
        (frames, windows), padding = aligned_frames(boxes, size), 0
    else:
        (frames, windows), padding = torchvision_frames(boxes, masks.shape[-1], size), 1
    areas = (windows[:, 2:] - windows[:, :2]).prod(1).tolist()
    start = 0
    while start < len(areas):
        stop, total = start + 1, areas[start]
        while stop < len(areas) and total + areas[stop] <= _PASTED:
            total += areas[stop]
            stop += 1
        part = slice(start, stop)
        yield paste_masks(masks[part], frames[part], windows[part], padding=padding), windows[part]
        start = stop


def instances(model: MaskRCNN, image: Image.Image | Bands, view: View) -> Instances:
    """The objects in one image, at the size of the image; arguments as for `detect`."""
    found = detect(model, image, view.score, view.detections)
    size = image.height, image.width
    masks = PackedMasks(size)
    for pixels, windows in pasted(found, size, model.aligned):
        pixels, start = pixels.cpu().numpy(), 0
        for x0, y0, x1, y1 in windows.tolist():
            area = (y1 - y0) * (x1 - x0)
            masks.append((x0, y0, x1, y1), pixels[start : start + area].reshape(y1 - y0, x1 - x0))
            start += area
    config = model.config
    boxes, scores = (found[key].float().cpu().numpy() for key in ("boxes", "scores"))
    labels = found["labels"].cpu().numpy()
    return Instances(shown(image), boxes, scores, labels, masks, config.classes, config.palette)
