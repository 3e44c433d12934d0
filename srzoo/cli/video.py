"""Segment videos and cameras for `srzoo segment`: draw the results over the frames, and keep times and sound."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import LockedError, locked
from ..messages import one_line, visible
from ..tasks.allocator import keep_freed_memory
from ..tasks.saving import mark, source_in
from ..video.names import ENDINGS, VideoError, check_ending, is_camera
from .outputs import output_folder, unique_stems
from .startup import heavy_imports

if TYPE_CHECKING:
    from ..tasks.saving import Saving
    from ..video.reading import Clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of videos alone."""
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="of a video, take every N-th frame, which keeps its length and its sound (default: %(default)s)",
    )


def run(options: argparse.Namespace, videos: list[str], view: Mapping[str, Any], saving: Saving) -> int:
    """Write a video for each video or camera.

    Args:
        options: of `srzoo segment`. ``out`` is a folder, or a file of one of `ENDINGS` if there is one video.
        videos: paths of videos, and numbers of cameras.
        view: the fields of the view that were given.
        saving: how overlays are drawn; the rest of it is for images.
    """
    if given := [name for name in ("legend", "gray", "json") if getattr(saving, name)]:
        raise ValueError(f"--{given[0]} is for images; a video gets the overlay alone, with --alpha")
    from ..video.reading import Clip, check_every

    check_every(options.every)
    clips: dict[str, Clip] = {}
    failed = 0
    for video in videos:  # before the model is loaded
        try:
            clips[video] = Clip(video)
        except VideoError as error:
            print(f"srzoo: {one_line(error)}", file=sys.stderr)
            failed += 1
    if not clips:
        return 2
    targets = targets_for(options.out, list(clips))
    with output_folder(next(iter(targets.values())).parent):
        with heavy_imports():
            from ..predict import Segmenter

            segmenter = Segmenter(options.model, options.device, options.tile, options.precision, options.graph, **view)
        keep_freed_memory(segmenter.device.type)
        for video, clip in clips.items():
            try:
                with nullcontext() if is_file(options.out) else own_turn(targets[video], clip):
                    _draw(clip, targets[video], segmenter, options.every, saving.alpha)
            except ValueError as error:  # of this video alone
                print(f"srzoo: {one_line(error)}", file=sys.stderr)
                failed += 1
    if failed and len(videos) > 1:
        print(f"srzoo: {failed} of {len(videos)} videos failed", file=sys.stderr)
    return 2 if failed else 0


def _draw(clip: Clip, target: Path, segmenter: Any, every: int, alpha: float) -> None:
    from tqdm import tqdm

    from ..video.drawing import draw

    total = clip.frames and -(-clip.frames // every)
    if clip.is_camera:
        print(f"{clip.name}: press Ctrl-C to stop", file=sys.stderr)
    drawn = draw(
        clip,
        target,
        segmenter,
        every,
        lambda result: result.overlay(alpha),
        progress=lambda frames: tqdm(
            frames, total=total, unit="frame", desc=Path(clip.name).name, smoothing=0.1, disable=None
        ),
    )
    frames = "1 frame" if drawn.frames == 1 else f"{drawn.frames} frames"
    sound = ", with sound" if drawn.has_sound else ""
    print(visible(f"{clip.name} -> {target} ({frames}, {drawn.seconds:.1f} s{sound})"))


@contextmanager
def own_turn(target: Path, clip: Clip) -> Iterator[None]:
    """Context manager that no other process writes the same file in.

    Raises:
        VideoError: one does, or has written the video of another source since the name was chosen.
    """
    try:
        with locked(target.with_name(f".{target.name}.lock"), wait=False):
            if not _is_free(target, None if clip.is_camera else Path(clip.source).name):
                raise VideoError(f"{target} is the video of another source by now; run the command again")
            yield
    except LockedError as error:
        raise VideoError(f"another process is writing {target}; wait for it, or write to another folder") from error


def is_file(out: Path) -> bool:
    """Whether ``--out`` names a video; a folder may have any name."""
    return out.suffix.lower() in ENDINGS and not out.is_dir()


def targets_for(out: Path, videos: list[str]) -> dict[str, Path]:
    """The file to write for each video."""
    if is_file(out):
        if len(videos) > 1:
            raise ValueError(f"--out {out} is one file, for {len(videos)} videos; name a folder")
        return {videos[0]: out}
    if out.suffix and not out.is_dir():
        check_ending(out)
    cameras = {f"camera{video}": video for video in videos if is_camera(video)}
    sources = [*cameras, *(video for video in videos if not is_camera(video))]

    def target(stem: str) -> Path:
        return out / f"{stem}_overlay.mp4"

    stems = unique_stems(sources, lambda name, stem: _is_free(target(stem), None if name in cameras else name))
    return {cameras.get(source, source): target(stem) for source, stem in stems.items()}


def _is_free(target: Path, name: str | None) -> bool:
    """Whether there is no such file, or the result of a video of this name; what a camera showed never comes again."""
    from ..video.reading import comment_of

    if not os.path.lexists(target):
        return True
    return name is not None and source_in(comment_of(target)) == source_in(mark(name))
