"""Segment images or videos: write labels and an overlay for each, and print the classes found."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import one_line, visible
from ..options import keys
from ..tasks.task import TASKS, get_task
from ..video.names import is_video
from ..web import is_address
from . import video
from .arguments import add_options, given_options
from .outputs import prepare_folder, unique_stems
from .startup import heavy_imports

if TYPE_CHECKING:
    from ..tasks.task import Result

_LONGEST_NAME = 60  # characters of a class's name in a table


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
        help="a name from `srzoo list --pretrained`, or one of srzoo's .safetensors files (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("segmented"),
        metavar="DIR",
        help="folder for the results, or the .mp4, .mov, .mkv or .webm file of a video (default: %(default)s)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="segment large images at full detail, in tiles of this side that share the context of the whole image",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")
    video.add_arguments(parser)
    names = {"tile"}
    for task in map(get_task, TASKS):
        add_options(parser, task.View, f"options of {task.name} models", skipped=names)
        names |= keys(task.View).keys()


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    view = {name: value for task in map(get_task, TASKS) for name, value in given_options(options, task.View).items()}
    view.pop("tile", None)
    if videos := [path for path in options.paths if is_video(path)]:
        if len(videos) < len(options.paths):
            raise ValueError("images and videos are segmented by one command each; run it twice")
        return video.run(options, videos, view)
    prepare_folder(options.out)
    sources, failures = find_images(options.paths)
    for failure in failures:
        print(f"srzoo: {visible(failure)}", file=sys.stderr)
    if not sources:
        return 2
    with heavy_imports():  # only if there is an image
        from ..images import name_of
        from ..predict import Segmenter

        segmenter = Segmenter(options.model, options.device, options.tile, **view)
    stems = unique_stems(sources)
    failed = len(failures)
    for source in tqdm(sources, disable=True if len(sources) == 1 else None, unit="image"):
        name = name_of(source)
        try:
            result = segmenter(source, brief=True)
            written = result.save(options.out / stems[source])
            tqdm.write(visible(f"{name} -> {', '.join(map(str, written))}"))
            tqdm.write(table(result, brief=len(sources) > 1, coloured=sys.stdout.isatty()))
        except BrokenPipeError:
            raise
        except Exception as error:  # of whatever kind, only this image fails
            if os.environ.get("SRZOO_TRACEBACK") == "1":
                raise
            text = one_line(error)
            tqdm.write(f"srzoo: {text if name in text else f'{name}: {text}'}", file=sys.stderr)
            failed += 1
    if failed:
        print(f"srzoo: {failed} of {len(sources) + len(failures)} inputs failed", file=sys.stderr)
    return 2 if failed else 0


def find_images(paths: list[str]) -> tuple[list[str], list[str]]:
    """Expand folders and globs.

    Returns:
        Paths and URLs in order, each once; and a message for each argument without any.
    """
    from ..images import SUFFIXES
    from ..tasks.task import RESULT_ENDINGS

    sources: dict[str, None] = {}
    failures = []
    for path in paths:
        if is_address(path) or os.path.isfile(path):
            sources[path] = None
            continue
        if os.path.isdir(path):
            try:
                names = sorted(name for name in os.listdir(path) if Path(name).suffix.lower() in SUFFIXES)
            except OSError as error:
                failures.append(f"{path}: the folder cannot be read ({error.strerror})")
                continue
            files = [str(file) for name in names if (file := Path(path, name)).is_file()]
            # The folder may also hold the results of an earlier run.
            found = [file for file in files if not Path(file).stem.endswith(RESULT_ENDINGS)]
            reason = f"no images in this folder (looked for {' '.join(sorted(SUFFIXES))})"
            if len(found) < len(files):
                reason += (
                    f"; {len(files) - len(found)} with names of results ({', '.join(RESULT_ENDINGS)}) are left out"
                )
        else:
            found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
            reason = "matches no file" if glob.has_magic(path) else "no such file or folder"
        sources.update(dict.fromkeys(found))
        if not found:
            failures.append(f"{path}: {reason}")
    return list(sources), failures


def table(result: Result, brief: bool, coloured: bool = False) -> str:
    """A result as text, with a line for each class found.

    Args:
        result: the result.
        brief: put the first five on one line instead.
        coloured: put the colour that the overlay uses before each name, for terminals.
    """
    # Names of classes are from the file of the model.
    found = [each._replace(name=visible(each.name, _LONGEST_NAME)) for each in result.found()]
    swatches = ["\x1b[48;2;{};{};{}m  \x1b[0m ".format(*each.colour) if coloured else "" for each in found]
    if brief:
        return "  " + ", ".join(f"{swatch}{each.name} {each.value}" for swatch, each in list(zip(swatches, found))[:5])
    names, values = (max((len(each[i]) for each in found), default=0) for i in (0, 1))
    return "\n".join(f"  {swatch}{each.name:{names}}  {each.value:>{values}}" for swatch, each in zip(swatches, found))
