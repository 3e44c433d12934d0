"""Checks of what detectors are trained on. torchvision accepts most of these errors and trains nothing, or NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..data.mask_windows import MaskWindows

_FIX = "run `srzoo data check` on the dataset"
_LEAST_SIDE = 0.1  # pixels of a box; the logarithm of a smaller one ruins the losses of a step


def with_windows(targets: Sequence[Any] | None) -> list[Any] | None:
    """The targets of a batch, with masks ``(n, H, W)`` that are tensors as `MaskWindows`; the rest as it is.

    On a GPU each mask waits for it: make `MaskWindows` in the data loader.
    """
    if not isinstance(targets, (list, tuple)):
        return targets
    return [{**each, "masks": MaskWindows.of(each["masks"])} if _has_dense_masks(each) else each for each in targets]


def _has_dense_masks(target: Any) -> bool:
    masks = target.get("masks") if isinstance(target, Mapping) else None
    return isinstance(masks, torch.Tensor) and masks.dim() == 3


def check_targets(targets: list[dict] | None, image_sizes: list[tuple[int, int]], num_classes: int) -> None:
    """Check the targets of a batch.

    Args:
        targets: of each image ``boxes`` ``(n, 4)`` float (x0, y0, x1, y1 in pixels of the input), ``labels`` ``(n,)``
            int64 from 0 on, and ``masks``, a `MaskWindows` of ``n`` masks, see `with_windows`. Without objects, ``n``
            is 0, and ``boxes`` may be ``(0,)``. An entry ``crowds`` ``(c, 4)`` may hold finite boxes of crowds, see
            `srzoo.models.crowds`.
        image_sizes: ``(H, W)`` of each image without its padding, in pixels.
        num_classes: number of classes.

    Raises:
        ValueError: something does not fit; the message names the image of the batch, the object, the value and the fix.
    """
    is_several = isinstance(targets, (list, tuple))
    if not is_several or len(targets) != len(image_sizes):
        found = len(targets) if is_several else "none" if targets is None else type(targets).__name__
        raise ValueError(f"training needs targets for each of the {len(image_sizes)} images, got {found}")
    for i, target in enumerate(targets):
        where = f"targets[{i}]"
        if not isinstance(target, Mapping):
            raise ValueError(f"{where} is of type {type(target).__name__}, expected a dict of boxes, labels and masks")
        missing = [key for key in ("boxes", "labels", "masks") if key not in target]
        if missing:
            raise ValueError(f"{where} has no {missing[0]!r}; it needs boxes, labels and masks")
        boxes, labels, masks = target["boxes"], target["labels"], target["masks"]
        for key, value in (("boxes", boxes), ("labels", labels)):
            if not isinstance(value, torch.Tensor):
                raise ValueError(f"{where} has {key} of type {type(value).__name__}, expected a tensor")
        if labels.dtype != torch.int64 or not boxes.is_floating_point():
            raise ValueError(
                f"{where} has boxes of {boxes.dtype} and labels of {labels.dtype}, expected floating point and int64"
            )
        if not isinstance(masks, MaskWindows):
            raise ValueError(
                f"{where} has masks of {described(masks)}, expected a tensor (n, H, W), or MaskWindows.of(masks)"
            )
        fits = boxes.shape == (len(labels), 4) or (not len(labels) and boxes.shape == (0,))
        if not fits or labels.dim() != 1 or len(masks) != len(labels):
            raise ValueError(
                f"{where} has boxes of {tuple(boxes.shape)}, labels of {tuple(labels.shape)} and {len(masks)} masks; "
                "expected (n, 4), (n,) and n of them"
            )
        crowds = target.get("crowds")
        if crowds is not None and not (isinstance(crowds, torch.Tensor) and crowds.shape[1:] == (4,)):
            raise ValueError(f"{where} has crowds of {described(crowds)}, expected a tensor of boxes (c, 4)")
    counts = [len(target["labels"]) for target in targets]
    crowds = [target.get("crowds") for target in targets]
    crowds = [target["boxes"].new_zeros(0, 4) if own is None else own for target, own in zip(targets, crowds)]
    if not any(map(len, crowds)) and not any(counts):
        return
    # On the CPU, since a GPU is waited for once for each tensor that is copied, not for each condition.
    parts = [each.detach().reshape(-1, 4) for each in (*(target["boxes"] for target in targets), *crowds)]
    parts = torch.cat(parts).cpu().split([*counts, *map(len, crowds)])
    labels = torch.cat([target["labels"] for target in targets]).cpu().split(counts)
    for i, (target, size) in enumerate(zip(targets, image_sizes)):
        _check_finite(f"targets[{i}]", "crowd", parts[len(targets) + i])
        if counts[i]:
            _check_objects(f"targets[{i}]", parts[i], labels[i], target["masks"], size, num_classes)


def described(value: Any) -> str:
    """The shape of a tensor, or the type of another value."""
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else f"type {type(value).__name__}"


def _check_finite(where: str, kind: str, boxes: torch.Tensor) -> None:
    broken = ~boxes.isfinite().all(1)
    if broken.any():
        at = int(broken.nonzero()[0])
        raise ValueError(f"{where}: the box of {kind} {at}, {_shown(boxes[at])}, is not finite; {_FIX}")


def _check_objects(
    where: str, boxes: torch.Tensor, labels: torch.Tensor, masks: MaskWindows, size: tuple[int, int], num_classes: int
) -> None:
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        at = int(wrong.nonzero()[0])
        raise ValueError(
            f"{where}: object {at} has label {int(labels[at])}, expected 0 to {num_classes - 1}; labels are class ids "
            "that count from 0, without the background"
        )
    height, width = size
    if tuple(masks.size) != (height, width):
        found = f"{masks.size[1]}x{masks.size[0]}"
        raise ValueError(f"{where}: its masks are {found}, the image {width}x{height}; {_FIX}")
    _check_finite(where, "object", boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    thin, tiny = (sides <= 0).any(1), (sides < _LEAST_SIDE).any(1)
    outside = (boxes < 0).any(1) | (boxes[:, 2] > width) | (boxes[:, 3] > height)
    for problem, said in (
        (thin, "has no width or height: expected x0 < x1 and y0 < y1"),
        (tiny, f"has a side below {_LEAST_SIDE} pixels; leave the object out"),
        (outside, f"reaches out of the image of {width}x{height}; clip it"),
    ):
        if problem.any():
            at = int(problem.nonzero()[0])
            raise ValueError(f"{where}: the box of object {at}, {_shown(boxes[at])}, {said}; {_FIX}")
    if float(boxes.max()) <= 1 and (boxes != boxes.round()).any():  # a single pixel in the corner is no mistake
        raise ValueError(
            f"{where}: all boxes lie within 0 to 1, as {_shown(boxes[0])}; expected pixels, so multiply them by the "
            "image's width and height"
        )


def _shown(box: torch.Tensor) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box.tolist()) + "]"
