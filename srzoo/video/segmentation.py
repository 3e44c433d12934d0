"""The results of a model for a video, frame after frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..images import check_several
from ..predict import DEFAULT_MODEL, Segmenter
from .names import is_video
from .reading import Clip, check_every

if TYPE_CHECKING:
    from torch import nn

    from ..tasks.task import Result


def segment(
    frames: str | os.PathLike | int | Iterable[Any],
    model: str | Path | nn.Module | Segmenter = DEFAULT_MODEL,
    every: int = 1,
    **options: Any,
) -> Iterator[Result]:
    """The results of a model for a video, one at a time, as the frames come; memory does not grow with the length.

    Args:
        frames: path of a video, number of a camera, or images as `Segmenter` takes them, in any iterable.
        model: a `Segmenter`, or what it takes.
        every: take every frame of this number, and leave the others out.
        **options: of `Segmenter`, such as ``device`` and ``tile``, if ``model`` is not one.

    Yields:
        The result of each frame, without what `Segmenter` leaves out of a brief one.

    Raises:
        VideoError, srzoo.images.ImageError: the video or a frame cannot be read.
        ValueError: an argument is invalid, as for `Segmenter`; or ``frames`` is a single image.
    """
    check_every(every)
    if options and isinstance(model, Segmenter):
        raise ValueError(f"{', '.join(options)}: options of a Segmenter, which is given; make it with them")
    segmenter = model if isinstance(model, Segmenter) else Segmenter(model, **options)
    images: Iterable[Any] = frames
    if is_video(frames):
        images = (frame.image for frame in Clip(frames).read())
    elif isinstance(frames, (str, os.PathLike)):
        raise ValueError(f"frames={str(frames)!r} is no video by its ending; give several images as a list")
    else:
        check_several(frames, "video.segment")
    return (segmenter(image, brief=True) for i, image in enumerate(images) if i % every == 0)
