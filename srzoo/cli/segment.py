"""Segment images or videos: write labels and an overlay for each, and print the classes found."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluate.distributed import gather, is_main_process, process_group, rank, world
from ..files import locked
from ..messages import one_line, visible
from ..tasks.allocator import keep_freed_memory, return_freed_memory
from ..tasks.saving import Saving, check_gray, is_result_of, refuse_foreign
from ..video.names import is_video
from . import video
from .arguments import add_options, given_options, path_argument
from .coco_file import collect
from .inputs import Inputs, find_images
from .library_lines import library_lines
from .outputs import name_in_result, output_folder, result_bases, taken_by_another
from .overlap import Overlap, overlap
from .startup import heavy_imports
from .view_options import add_view_options, given_view

if TYPE_CHECKING:
    from ..predict import Segmenter
    from ..tasks.task import Result

_LONGEST_NAME = 60  # characters of a class's name in a table
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image files, folders, globs or URLs; or videos, or the number of a camera",
    )
    parser.add_argument(
        "--model",
        default="srnet_lite0_camvid",
        metavar="NAME",
        help="a name from `srzoo list --pretrained`, one of srzoo's .safetensors or .onnx files, or hf-hub:owner/name "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=path_argument,
        default=Path("segmented"),
        metavar="DIR",
        help="folder for the results, or the .mp4, .mov, .mkv or .webm file of a video (default: %(default)s)",
    )
    parser.add_argument(
        "--recursive", "-r", action="store_true", help="look into sub-folders, too, whose names the results keep"
    )
    parser.add_argument(
        "--skip-existing",
        "--skip_existing",
        action="store_true",
        help="leave out images whose results are in --out, so that the same command resumes after a stop",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="segment large images at full detail, in tiles of this side that share the context of the whole image",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, ... (default: %(default)s)")
    parser.add_argument(
        "--precision",
        default="auto",
        help="float32, float16, bfloat16, or auto: float16 for semantic models on a GPU, else float32 (default: auto)",
    )
    parser.add_argument(
        "--graph",
        action="store_true",
        help="on a GPU, replay a semantic model as a CUDA graph for each size of image that comes again",
    )
    video.add_arguments(parser)
    add_options(parser, Saving, "what is written")
    add_view_options(parser, measured=False, skipped={"tile", "leave_out"})


@dataclass
class _Counts:
    """What one process has done."""

    segmented: int = 0
    skipped: int = 0
    failed: int = 0
    ended: bool = False


class _Ended(Exception):
    """Raised where every further image would fail as the last one did."""


def run(options: argparse.Namespace) -> int:
    from ..options import build, read

    saving = read(Saving, given_options(options, Saving))
    if videos := [path for path in options.paths if is_video(path)]:
        if len(videos) < len(options.paths):
            raise ValueError("images and videos are segmented by one command each; run it twice")
        return video.run(options, videos, _without_tile(given_view(options)), build(Saving, saving))
    if video.is_file(options.out):
        raise ValueError(f"--out {options.out} is the file of a video, for images; name a folder")
    if options.every != 1:
        raise ValueError(f"--every {options.every} is for videos; an image has one frame")
    with output_folder(options.out):
        return _segment_images(options, saving, build(Saving, saving))


def _segment_images(options: argparse.Namespace, saving: dict[str, Any], built: Saving) -> int:
    collected = options.out / "coco.json"
    if built.json:
        refuse_foreign(collected)
    with process_group(options.device):
        # Listed once, as results may appear in the folders from now on.
        listed = find_images(options.paths, options.recursive, options.out) if is_main_process() else None
        inputs: Inputs = gather(listed)[0]
        for failure in inputs.failures:
            _tell(f"srzoo: {visible(failure)}", sys.stderr)
        if not inputs.images:
            return 2
        with heavy_imports():  # only if there is an image
            from ..predict import Segmenter

            segmenter = Segmenter(
                options.model,
                options.device,
                options.tile,
                options.precision,
                options.graph,
                **_without_tile(given_view(options)),
            )
        check_gray(built, segmenter.task.endings)
        is_kept = keep_freed_memory(segmenter.device.type)
        bases = result_bases(inputs.images, options.out, _endings(segmenter))
        counts = gather(_segment(segmenter, inputs, bases, saving, options.skip_existing, is_kept))
    total = _Counts(*(sum(getattr(each, name) for each in counts) for name in ("segmented", "skipped", "failed")))
    total.ended = any(each.ended for each in counts)
    if built.json and is_main_process() and not total.ended:
        print(f"annotations of {collect(bases.values(), collected)} images in {collected}")
    for line in _summary(inputs, total):
        _tell(line)
    failed, given = total.failed + len(inputs.failures), len(inputs.images) + len(inputs.failures)
    if failed:
        is_left = total.segmented + total.skipped + total.failed < len(inputs.images)
        rest = f"{', and the rest was left' if is_left else ''}; {_resumes(saving)}"
        _tell(f"srzoo: {failed} of {given} inputs failed{rest if total.ended and given > 1 else ''}", sys.stderr)
    return 2 if failed else 0


def _without_tile(view: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in view.items() if name != "tile"}


def _tell(text: str, file: Any = None) -> None:
    """Print in the main process only."""
    if is_main_process():
        print(text, file=file)


def _segment(
    segmenter: Segmenter,
    inputs: Inputs,
    bases: dict[str, Path],
    saving: dict[str, Any],
    skip_existing: bool,
    is_memory_kept: bool,
) -> _Counts:
    """Segment the images of this process: every n-th of n processes."""
    from tqdm import tqdm

    from ..images import ImageError, name_of

    def tell_warning(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    def tell(name: str, done: Future) -> None:
        bar.update()
        try:
            if (outcome := done.result()) is None:
                counts.skipped += 1
                return
            written, found = outcome
            tqdm.write(visible(f"{name} -> {', '.join(map(str, written))}"))
            tqdm.write(found)
            counts.segmented += 1
            if is_memory_kept:
                return_freed_memory(counts.segmented)
        except BrokenPipeError:
            raise
        except Exception as error:  # of whatever kind, only this image fails, unless it is the machine's
            if os.environ.get("SRZOO_TRACEBACK") == "1":
                raise
            text = one_line(error)
            tqdm.write(f"srzoo: {text if name in text else f'{name}: {text}'}", file=sys.stderr)
            counts.failed += 1
            if isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno in _NO_ROOM):
                counts.ended = True
                raise _Ended from None

    def read(source: str, base: Path, named: str) -> Any:
        if skip_existing and _is_done(segmenter, base, named, saving):
            return None
        try:
            return segmenter.read(source)
        except ImportError as error:  # of a package for files of this kind, while the others may be of another
            raise ImageError(str(error)) from error

    def save(result: Result, base: Path, named: str) -> tuple[list[Path], str]:
        base.parent.mkdir(parents=True, exist_ok=True)
        with locked(base.with_name(f".{base.name}.lock")):  # another process may write here, too
            if taken := taken_by_another(base, _endings(segmenter), named):
                raise FileExistsError(f"{taken[0]} is the result of another image by now; {_resumes(saving)}")
            written = result.save(base, named, **saving)
        return written, table(result, brief=not is_one, coloured=sys.stdout.isatty())

    counts, is_one = _Counts(), len(inputs.images) == 1
    own = list(inputs.images)[rank() :: world()]
    is_quiet = True if is_one or not is_main_process() else None
    # With miniters no thread of tqdm's draws the bar, which `library_lines` would take for a library's line.
    bar = tqdm(total=len(own), disable=is_quiet, miniters=1, unit="image")
    try:
        with suppress(_Ended), bar, overlap(segmenter.device.type, tell) as work:
            for source in own:
                name = name_of(source)
                place = {"base": bases[source], "named": name_in_result(source, inputs.images[source])}
                # In a thread, the images before may be computed and written meanwhile.
                with library_lines(f"while {name} was read" if isinstance(work, Overlap) else name, tell_warning):
                    done = work.start(
                        partial(read, source, **place), partial(segmenter, brief=True), partial(save, **place)
                    )
                work.add(name, done)
    except KeyboardInterrupt as error:
        if not is_one:
            error.args = (f"{counts.segmented} of {len(own)} images segmented; {_resumes(saving)}",)
        raise
    return counts


def _endings(segmenter: Segmenter) -> tuple[str, ...]:
    """Of the names of all files that results may have."""
    return ("_overlay.jpg", "_overlay.png", "_coco.json", *segmenter.task.endings)


def _resumes(saving: dict[str, Any]) -> str:
    """How the other images get their results, and all of them the file of all annotations."""
    collected = ", and then writes coco.json" if saving.get("json") else ""
    return f"the same command with --skip-existing resumes{collected}"


def _is_done(segmenter: Segmenter, base: Path, named: str, saving: dict[str, Any]) -> bool:
    """Whether all files of a result are there, and are of this image."""
    others = [*segmenter.task.endings, *(["_coco.json"] if saving.get("json") else [])]
    # The overlay of a very long image is a PNG file.
    wanted = [("_overlay.jpg", "_overlay.png"), *((ending,) for ending in others)]
    return all(
        any(is_result_of(base.with_name(f"{base.name}{ending}"), named) for ending in either) for either in wanted
    )


def _summary(inputs: Inputs, total: _Counts) -> Iterator[str]:
    """The lines after the images, of which a single image needs none."""
    if len(inputs.images) > 1 or total.skipped:
        skipped = f", {total.skipped} skipped, whose results are there" if total.skipped else ""
        yield f"{total.segmented} of {len(inputs.images)} images segmented{skipped}"
    if left_out := inputs.left_out():
        yield f"left out: {', '.join(left_out)}"


def table(result: Result, brief: bool, coloured: bool = False) -> str:
    """A result as text, with a line for each class found.

    Args:
        result: the result.
        brief: put the first five on one line instead.
        coloured: put the colour that the overlay uses before each name, for terminals.
    """
    # Names of classes are from the file of the model.
    found = [each._replace(name=visible(each.name, _LONGEST_NAME)) for each in result.found()]
    if not found:
        return "  nothing found"
    swatches = ["\x1b[48;2;{};{};{}m  \x1b[0m ".format(*each.colour) if coloured else "" for each in found]
    if brief:
        return "  " + ", ".join(f"{swatch}{each.name} {each.value}" for swatch, each in list(zip(swatches, found))[:5])
    names, values = (max(len(each[i]) for each in found) for i in (0, 1))
    return "\n".join(f"  {swatch}{each.name:{names}}  {each.value:>{values}}" for swatch, each in zip(swatches, found))
