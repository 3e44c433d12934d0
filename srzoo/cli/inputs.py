"""The images that a command line names: files, folders, globs and addresses."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..messages import and_more
from ..web import is_address

_SHOWN = 4  # endings of names in a line


@dataclass
class Inputs:
    """What `find_images` has found.

    Attributes:
        images: for each path or address, in order and each once, the folder it lies in below the folder that was
            named; empty for all others.
        failures: a message for each argument without any image.
        others: number of files in folders that are no images, by the ending of their names.
        broken: number of names of images in folders that are no files, such as links to what is gone.
        results: number of files in folders that have names of results.
        hidden: number of hidden files and folders in folders.
        folders: number of sub-folders that were not looked into.
    """

    images: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    results: int = 0
    hidden: int = 0
    folders: int = 0

    def left_out(self) -> list[str]:
        """What was left out of the folders, in words."""
        from ..tasks.task import RESULT_ENDINGS

        lines = []
        if self.others:
            endings = and_more([ending or "no ending" for ending, _ in self.others.most_common()], _SHOWN)
            lines.append(f"{_counted(self.others.total(), 'file')} of other kinds ({endings})")
        if self.broken:
            lines.append(f"{self.broken} named as images that are no files (broken links, or pipes)")
        if self.results:
            lines.append(f"{_counted(self.results, 'file')} named as results ({', '.join(RESULT_ENDINGS)})")
        if self.hidden:
            lines.append(f"{self.hidden} hidden")
        if self.folders:
            lines.append(f"{_counted(self.folders, 'sub-folder')} (--recursive reads them)")
        return lines


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def find_images(paths: list[str], recursive: bool = False, skipped: Path | None = None) -> Inputs:
    """Expand folders and globs.

    Args:
        paths: what the user gave.
        recursive: look into sub-folders, too; links to folders are not followed.
        skipped: a folder that is not looked into, such as that of the results.
    """
    from ..images import SUFFIXES

    inputs, seen = Inputs(), set()

    def add(path: str, folder: str = "") -> None:
        # x.png and ./x.png are one image, link/../x.png may be another, and a link x.png has a name of its own.
        place = path if is_address(path) else Path(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if place not in seen:
            seen.add(place)
            inputs.images[path] = folder

    for path in paths:
        if is_address(path) or os.path.isfile(path):
            add(path)
            continue
        unread: list[OSError] = []
        if os.path.isdir(path):
            before = Inputs(broken=inputs.broken, results=inputs.results, folders=inputs.folders)
            found = dict(_in_folder(inputs, path, recursive, skipped, unread))
            inputs.failures += [f"{error.filename}: the folder cannot be read ({error.strerror})" for error in unread]
            reason = f"no images in this folder (looked for {' '.join(sorted(SUFFIXES))})"
            added = Inputs(
                **{name: getattr(inputs, name) - getattr(before, name) for name in ("broken", "results", "folders")}
            )
            if not found and (left_out := added.left_out()):
                reason += f"; left out: {', '.join(left_out)}"
        else:
            matches = sorted(file for file in _matches(path) if os.path.isfile(file))
            found = dict.fromkeys(matches, "")
            reason = "matches no file" if glob.has_magic(path) else "no such file or folder"
        for each, folder in found.items():
            add(each, folder)
        if not found and not unread:
            inputs.failures.append(f"{path}: {reason}")
    return inputs


def _matches(pattern: str) -> set[str]:
    """What a glob matches. As in a shell, ``**`` follows no links to folders: one can lead back to where it lies."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return set(glob.glob(pattern))
    at = parts.index("**")
    found: set[str] = set()
    for root in glob.glob(str(Path(*parts[:at]))):
        for folder, folders, _ in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found |= _matches(str(Path(glob.escape(folder), *(parts[at + 1 :] or ("*",)))))
    return found


def _in_folder(
    inputs: Inputs, root: str, recursive: bool, skipped: Path | None, unread: list[OSError]
) -> Iterator[tuple[str, str]]:
    """The images in a folder, each with the folder below ``root`` that it lies in.

    What is left out is counted, and ``unread`` gets an error for each folder that cannot be read.
    """
    from ..images import SUFFIXES
    from ..tasks.task import RESULT_ENDINGS

    skipped = skipped and skipped.resolve()
    for folder, folders, names in os.walk(root, onerror=unread.append):
        seen = [name for name in sorted(folders) if not name.startswith(".")]
        inputs.hidden += len(folders) - len(seen)
        seen = [name for name in seen if Path(folder, name).resolve() != skipped]
        inputs.folders += 0 if recursive else len(seen)
        folders[:] = seen if recursive else []
        below = os.path.relpath(folder, root)
        for name in sorted(names):
            if name.startswith("."):
                inputs.hidden += 1
            elif Path(name).suffix.lower() not in SUFFIXES:
                inputs.others[Path(name).suffix.lower()] += 1
            elif not os.path.isfile(Path(folder, name)):
                inputs.broken += 1
            elif Path(name).stem.endswith(RESULT_ENDINGS):
                inputs.results += 1
            else:
                yield str(Path(folder, name)), "" if below == "." else below
