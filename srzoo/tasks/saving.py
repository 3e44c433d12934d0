"""How results are written: the options, and the one writer of their files. Imports no torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..files import replacing
from ..options import check, documented, option

if TYPE_CHECKING:
    from PIL import Image

Content = Any  # a Pillow image, or a dict for JSON

LABELS = "_labels.png"  # ending of a file of class ids

_JPEG_MAX_SIDE = 65500  # pixels, the limit of libjpeg
_HEAD = 1 << 14  # bytes of a file in which its mark is
# What a file says of itself: who wrote it, and the image that it is of. With what is before it in each format.
_OURS = rb"srzoo [\w.+-]+ of ([\w.~%/-]*);"
_MARK = re.compile(rb'(?:tEXtSoftware\0|\xff\xfe..|^\{"software": ")' + _OURS, re.DOTALL)
_TIFF_MARK = re.compile(_OURS + rb"\0")


@documented
@dataclass(frozen=True)
class Saving:
    """Which files of a result are written, and how its overlay is drawn.

    Raises:
        ValueError: a value is out of range.
    """

    alpha: float = option("opacity of the colours in the overlay, from 0 to 1", 0.5, low=0, high=1)
    legend: bool = option("name the colours below the overlay", False)
    gray: bool = option(
        "write the label images of semantic models as gray class ids without the classes' colours, for programs that "
        "read brightness",
        False,
    )
    json: bool = option(
        "also write COCO's JSON: <name>_coco.json for each image, with polygons, area and class of each class or "
        "object and the shares of the classes; `srzoo segment` also writes coco.json for all images",
        False,
    )

    def __post_init__(self):
        check(self)


def check_gray(saving: Saving, endings: Iterable[str]) -> None:
    """Raises ValueError if gray labels are asked for where no file has the ending of a label image."""
    if saving.gray and LABELS not in endings:
        raise ValueError("gray is for the label images of semantic models, and this is another model; leave it out")


def write(base: Path, contents: Mapping[str, Callable[[], Content]], source: str = "") -> list[Path]:
    """Write the files of a result, each completely or not at all. Files of an earlier result are replaced.

    Args:
        base: what the names start with.
        contents: by the ending of the name, what makes a picture for ``.png`` or ``.jpg``, which becomes ``.png`` if a
            side is longer than JPEG allows; a `srzoo.data.georeference.Placed` for ``.tif``; or a dict for ``.json``.
            Only one of them is in memory at a time.
        source: name of the image, which each file tells, see `source_of`.

    Returns:
        The paths of the files.

    Raises:
        FileExistsError: a file of this name is no result of srzoo; nothing is written then.
        OSError: a file cannot be written.
    """
    for ending in contents:
        refuse_foreign(base.with_name(f"{base.name}{ending}"))
    return [_write(base, ending, make(), mark(source)) for ending, make in contents.items()]


def _write(base: Path, ending: str, content: Content, marked: str) -> Path:
    if ending.endswith(".jpg") and max(content.size) > _JPEG_MAX_SIDE:
        ending = f"{ending.removesuffix('.jpg')}.png"
    path = base.with_name(f"{base.name}{ending}")
    refuse_foreign(path)
    with replacing(path) as temporary:
        _write_one(temporary, content, marked)
    return path


def _write_one(path: Path, content: Content, marked: str) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps({"software": marked, **content}))
    elif path.suffix == ".tif":
        content.save(path, marked)
    elif path.suffix == ".jpg":
        content.save(path, "JPEG", quality=92, comment=marked)
    else:
        save_png(content, path, marked)


def save_png(picture: Image.Image, path: Path, marked: str) -> None:
    """Write a picture as a PNG file; ``marked`` is what `mark` returned."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", marked)
    picture.save(path, "PNG", pnginfo=info)


def mark(source: str = "") -> str:
    """What a file of a result says of itself; see `source_of`."""
    from .. import __version__

    return f"srzoo {__version__} of {_quoted(source)};"


def _quoted(source: str) -> str:
    return quote(source, errors="surrogateescape")[:4096]


def source_of(path: Path) -> str | None:
    """The quoted name of the image that a file is a result of, perhaps empty; None if it is no result of srzoo."""
    with path.open("rb") as file:
        if path.suffix == ".tif":  # its tags are at its end
            file.seek(max(0, os.fstat(file.fileno()).st_size - _HEAD))
            found = _TIFF_MARK.search(file.read(_HEAD))
        else:
            found = _MARK.search(file.read(_HEAD))
    return found and found[1].decode()


def source_in(text: str) -> str | None:
    """The quoted name of the image or video in what `mark` returned; None for another text."""
    found = re.fullmatch(_OURS, text.encode(errors="replace"))
    return found and found[1].decode()


def is_result(path: Path) -> bool:
    """Whether a file that exists is a result of srzoo."""
    return source_of(path) is not None


def is_result_of(path: Path, source: str) -> bool:
    """Whether a file exists and is a result of srzoo for the image of this name."""
    return path.is_file() and source_of(path) == _quoted(source)


def is_result_of_another(path: Path, source: str) -> bool:
    """Whether a file is known to be a result of srzoo for an image of another name, in whatever folder."""
    try:
        own = source_of(path) if path.is_file() else None
    except OSError:  # it cannot be read: `write` refuses to replace it
        return False
    return bool(own) and own.rpartition("/")[2] != _quoted(source).rpartition("/")[2]


def refuse_foreign(path: Path, is_own: Callable[[Path], bool] = is_result) -> None:
    """Check that no file would be replaced but one of an earlier result.

    Args:
        path: the file that will be written.
        is_own: whether a file is one of an earlier result.

    Raises:
        FileExistsError: there is another file of this name, such as an annotation, or an edited result.
    """
    if path.exists() and not (path.is_file() and is_own(path)):
        raise FileExistsError(
            f"{path} exists and is no result of srzoo; move it, or write the results to another folder"
        )
