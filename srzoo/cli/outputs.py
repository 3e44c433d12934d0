"""Where a command's results go: a folder that can be written, and names that do not clash."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_folder(folder: Path, option: str = "--out") -> None:
    """Make the output folder, which ``option`` names, and see that files can be made in it.

    Raises:
        OSError: they cannot; the message names the folder and the reason.
    """
    probe = folder / f".{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to the output folder {str(folder)!r} ({error.strerror}); choose another with {option}"
        ) from error


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent; "absent" for one that could not be measured."""
    return "absent" if value is None else f"{value:.{digits}%}"


def unique_stems(sources: list[str]) -> dict[str, str]:
    """An output name for each source, so that ``a/x.png``, ``b/x.png`` and ``b/x.jpg`` do not overwrite each other."""
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for source in sources:
        stem = base = Path(source.split("?")[0]).stem or "image"
        number = 2
        while stem.lower() in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem.lower())
        stems[source] = stem
    return stems
