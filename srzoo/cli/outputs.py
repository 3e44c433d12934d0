"""The output of commands: folders that can be written to, and unique file names."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

from ..evaluate.distributed import is_main_process
from ..files import composed, fitting, made_folder
from ..messages import shortened, visible
from ..tasks.saving import is_result_of_another
from ..web import is_address, parts_of


@contextmanager
def output_folder(folder: Path, option: str = "--out") -> Iterator[None]:
    """Context manager that makes an output folder, and checks that files can be written to it.

    What it makes is removed again at its end where nothing was written, so that a command that fails leaves no folder.

    Args:
        folder: the folder.
        option: the option that names it, for the message.

    Raises:
        OSError: the folder cannot be made or written to; the message names it and the reason.
    """
    with ExitStack() as stack:
        try:
            if folder.is_symlink() and not folder.exists():
                raise FileNotFoundError(errno.ENOENT, f"it is a link to {os.readlink(folder)}, which does not exist")
            if is_main_process():  # of several, this one writes last
                stack.enter_context(made_folder(folder))
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(prefix=".", dir=folder).close()
        except (OSError, RecursionError) as error:  # pathlib makes parents by recursion
            reason = getattr(error, "strerror", None) or os.strerror(errno.ENAMETOOLONG)
            raise OSError(
                f"cannot write to the output folder {shortened(str(folder), 200)} ({reason}); choose another with "
                f"{option}"
            ) from error
        yield


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent; "absent" for None."""
    return "absent" if value is None else f"{value:.{digits}%}"


def unique_stems(sources: list[str], is_free: Callable[[str, str], bool] = lambda name, stem: True) -> dict[str, str]:
    """A unique file name, without ending, for each path or URL: x, x-2 and x-3 for a/x.png, b/x.png and b/x.jpg.

    Names are unique on file systems, too, that take letters of either case, or of either Unicode form, for one.

    Args:
        sources: the paths and URLs, each once.
        is_free: whether a source whose file has a name, such as ``x.png``, may get a unique name, such as ``x-2``.
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    last: dict[tuple[str, str], int] = {}  # the number that a file of the same name has got
    for source in sources:
        own = base, name = _stem(source), name_in_result(source, "")
        for number in itertools.count(last.get(own, 0) + 1):
            stem = base if number == 1 else f"{base}-{number}"
            if composed(stem).lower() not in taken and is_free(name, stem):
                break
        stems[source], last[own] = stem, number
        taken.add(composed(stem).lower())
    return stems


def result_bases(images: Mapping[str, str], out: Path, endings: Sequence[str]) -> dict[str, Path]:
    """What the names of the results start with, for each path or URL.

    A name that an earlier result of another image has, such as of ``x.jpg`` for ``x.png``, is left to it.

    Args:
        images: the sub-folder that the results go to, for each path or URL.
        out: the output folder.
        endings: of the names of the files.
    """
    by_folder: dict[str, list[str]] = defaultdict(list)
    for source, folder in images.items():
        by_folder[folder].append(source)
    bases = {}
    for folder, sources in by_folder.items():

        def is_free(name: str, stem: str, folder: str = folder) -> bool:
            return not taken_by_another(out / folder / stem, endings, name)

        bases |= {source: out / folder / stem for source, stem in unique_stems(sources, is_free).items()}
    return {source: bases[source] for source in images}


def taken_by_another(base: Path, endings: Sequence[str], named: str) -> list[Path]:
    """The files of a result that are there, and of an image of another name than ``named``."""
    paths = [base.with_name(f"{base.name}{ending}") for ending in endings]
    return [path for path in paths if is_result_of_another(path, named)]


def name_in_result(source: str, folder: str) -> str:
    """The name of an image in the files of its result: that of its file, with the sub-folder that it was found in.

    It holds nothing else of the user's folders.
    """
    path = parts_of(source).path if is_address(source) else source
    return Path(folder, Path(path).name).as_posix()


def _stem(source: str) -> str:
    """The name without ending of a path, or of the path of an address; cut off where it is too long for a file."""
    stem = Path(visible(unquote(parts_of(source).path)) if is_address(source) else source).stem
    return fitting(stem) or "image"
