"""What is a video by its name, and the errors of videos. Imports nothing heavy, since every command line reads it."""

from __future__ import annotations

import os
from pathlib import Path

# Endings of the files that are read, and of those that are written.
SUFFIXES = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"])
ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")


class VideoError(ValueError):
    """Raised for a video or camera that cannot be read or written; the message names it and the reason."""


def is_video(source: object) -> bool:
    """Whether a source is a video by the ending of its name, or a camera."""
    is_path = isinstance(source, (str, os.PathLike))
    return is_camera(source) or (is_path and Path(source).suffix.lower() in SUFFIXES)


def is_camera(source: object) -> bool:
    """Whether a source is the number of a camera; a text of digits is, unless a file has that name."""
    if isinstance(source, str):
        return source.isascii() and source.isdigit() and len(source) < 4 and not os.path.exists(source)
    return isinstance(source, int) and not isinstance(source, bool) and 0 <= source < 1000


def check_ending(path: Path) -> None:
    """Check that a file's name has the ending of a format that can be written.

    Raises:
        VideoError: it has another one.
    """
    if path.suffix.lower() not in ENDINGS:
        raise VideoError(f"{path}: a video is written to a file that ends in {', '.join(ENDINGS)}")
