"""Segment images: a label PNG and an overlay for each, and the classes found."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import one_line
from .outputs import prepare_folder, unique_stems
from .startup import heavy_imports

if TYPE_CHECKING:
    from PIL import Image

    from ..tasks.semantic.result import Segmentation

_LABELS, _OVERLAY = "_labels", "_overlay"
_JPEG_MAX_SIDE = 65500  # of libjpeg


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image files, folders, globs or URLs")
    parser.add_argument(
        "--model",
        default="srnet_lite0_camvid",
        metavar="NAME",
        help="a name from `srzoo list --pretrained`, or a .safetensors file of ours (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("segmented"),
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="see large images at full detail, in tiles of this side that share the whole image's context; e.g. 1024",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    prepare_folder(options.out)
    sources, failures = find_images(options.paths)
    for failure in failures:
        print(f"srzoo: {failure}", file=sys.stderr)
    if not sources:
        return 2
    with heavy_imports():  # only now that there is something to do
        from ..predict import Segmenter

        segmenter = Segmenter(options.model, options.device, options.tile)
    stems = unique_stems(sources)
    failed = len(failures)
    for source in tqdm(sources, disable=True if len(sources) == 1 else None, unit="image"):
        try:
            result = segmenter(source)
            labels, overlay = write_result(result, options.out / stems[source])
        except (ValueError, OSError, MemoryError) as error:
            text = one_line(error)
            tqdm.write(f"srzoo: {text if source in text else f'{source}: {text}'}", file=sys.stderr)
            failed += 1
            continue
        tqdm.write(f"{source} -> {labels}, {overlay}")
        tqdm.write(table(result, brief=len(sources) > 1, coloured=sys.stdout.isatty()))
    if failed:
        print(f"srzoo: {failed} of {len(sources) + len(failures)} inputs failed", file=sys.stderr)
    return 2 if failed else 0


def find_images(paths: list[str]) -> tuple[list[str], list[str]]:
    """Expand folders and globs; returns the sources in order, each once, and a line for each path without any."""
    from ..images import SUFFIXES

    sources: dict[str, None] = {}
    failures = []
    for path in paths:
        if path.startswith(("http://", "https://")) or os.path.isfile(path):
            sources[path] = None
            continue
        if os.path.isdir(path):
            found = [
                str(file) for file in sorted(Path(path).iterdir()) if file.suffix.lower() in SUFFIXES and file.is_file()
            ]
            # A second run over a folder that also holds the first one's results leaves those alone.
            found = [file for file in found if not Path(file).stem.endswith((_LABELS, _OVERLAY))]
            reason = f"no images in this folder (looked for {' '.join(sorted(SUFFIXES))})"
        else:
            found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
            reason = "matches no file" if glob.has_magic(path) else "no such file or folder"
        sources.update(dict.fromkeys(found))
        if not found:
            failures.append(f"{path}: {reason}")
    return list(sources), failures


def write_result(result: Segmentation, base: Path) -> tuple[Path, Path]:
    """Write ``<base>_labels.png`` and ``<base>_overlay.jpg``; returns their paths."""
    labels = base.with_name(f"{base.name}{_LABELS}.png")
    overlay = base.with_name(f"{base.name}{_OVERLAY}.jpg")
    _save(result.label_image(), labels, "PNG")
    if max(result.image.size) > _JPEG_MAX_SIDE:
        overlay = overlay.with_suffix(".png")
        _save(result.overlay(), overlay, "PNG")
    else:
        _save(result.overlay(), overlay, "JPEG", quality=92)
    return labels, overlay


def _save(picture: Image.Image, path: Path, kind: str, **options) -> None:
    from ..files import replacing

    with replacing(path) as temporary:
        picture.save(temporary, kind, **options)


def table(result: Segmentation, brief: bool, coloured: bool = False) -> str:
    """The classes found with their share of the image: a line each, or the first five on one line.

    ``coloured`` puts a swatch of the overlay's colour before each name, for terminals.
    """
    shares = result.shares()
    colours = dict(zip(result.classes, result.palette))
    swatch = {name: "\x1b[48;2;{};{};{}m  \x1b[0m ".format(*colours[name]) if coloured else "" for name in shares}
    if brief:
        return "  " + ", ".join(f"{swatch[name]}{name} {share:.1%}" for name, share in list(shares.items())[:5])
    width = max(map(len, shares))
    return "\n".join(f"  {swatch[name]}{name:{width}}  {share:6.1%}" for name, share in shares.items())
