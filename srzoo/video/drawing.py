"""A video with the results of a model drawn over its frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..files import replacing
from ..tasks.saving import mark
from ..train.stopping import Stop, Stopped
from .names import VideoError, check_ending
from .reading import Clip, Frame, check_every
from .writing import Writer

if TYPE_CHECKING:
    from PIL import Image

    from ..tasks.task import Result


class Drawn(NamedTuple):
    """What `draw` has written: the number of frames, the time of the last one in seconds, and whether it has sound."""

    frames: int
    seconds: float
    has_sound: bool


def draw(
    source: str | os.PathLike | int | Clip,
    target: str | Path,
    segmenter: Callable[..., Result],
    every: int = 1,
    picture: Callable[[Result], Image.Image] | None = None,
    progress: Callable[[Iterable[Frame]], Iterable[Frame]] = iter,
) -> Drawn:
    """Write a video with the results of a model drawn over its frames, with the times and the sound of the original.

    The file appears when it is complete. If the user stops it (SIGINT, SIGTERM), it is completed with the frames until
    then; a second signal leaves nothing. Memory does not grow with the length.

    Args:
        source: path of a video, or number of a camera.
        target: the file to write, ``.mp4``, ``.mov``, ``.mkv`` or ``.webm``.
        segmenter: a `srzoo.Segmenter`.
        every: take every frame of this number; the video then has fewer frames a second, and the same length.
        picture: what is drawn of a result; default its ``overlay()``.
        progress: wraps the frames, for a progress bar.

    Raises:
        VideoError: the source is no video, or the target is the source or a folder or has another ending.
        OSError: the target cannot be written.
        KeyboardInterrupt: it was stopped; the message says what the target has.
    """
    target = Path(target)
    check_every(every)
    check_ending(target)
    if target.is_dir():
        raise VideoError(f"{target} is a folder; name a file in it")
    clip = source if isinstance(source, Clip) else Clip(source)
    if not clip.is_camera and target.exists() and os.path.samefile(clip.source, target):
        raise VideoError(f"{target} is the video that is read; write to another file")
    count, last, stopped = 0, Fraction(0), None
    with replacing(target) as temporary, Stop() as stop:
        with clip.open() as container:
            form = (clip.size, clip.rate / every, clip.tick, clip.aspect, clip.sound(container))
            writer = Writer(temporary, *form, comment=mark("" if clip.is_camera else Path(clip.source).name))
        with writer:
            frames = clip.read(writer.add_sound if writer.has_sound else None)
            try:
                for frame in progress(each for i, each in enumerate(frames) if i % every == 0):
                    with stop.at_once():
                        image = _drawn(segmenter(frame.image, brief=True), picture)
                    writer.add(image, frame.time)
                    count, last = count + 1, frame.time
            except Stopped as error:
                if not count:
                    raise
                stopped = error
            if not count:
                raise VideoError(f"{clip.name}: no frame of it can be decoded")
    if stopped is not None:
        frames = "1 frame" if count == 1 else f"{count} frames"
        stopped.args = (f"{target} has the {frames} until {float(last):.1f} s",)
        raise stopped
    return Drawn(count, float(last), writer.has_sound)


def _drawn(result: Result, picture: Callable[[Any], Image.Image] | None) -> Image.Image:
    return result.overlay() if picture is None else picture(result)
