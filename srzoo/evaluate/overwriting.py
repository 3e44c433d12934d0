"""Which files an evaluation may replace: those of an earlier one, and none that belongs to the dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from ..data.files import SPLIT_NAMES
from ..data.opening import read_split
from ..data.samples import ImageData
from ..tasks.saving import is_result, refuse_foreign


def refuse_to_overwrite(
    dataset: ImageData, task: str, paths: Iterable[Path], option: str, is_own: Callable[[Path], bool] = is_result
) -> None:
    """Check that no output would replace a file of the dataset, in any split, or another file that is no result.

    Args:
        dataset: the split that is evaluated, as `open_dataset` read it.
        task: the task that it was read for.
        paths: the files that will be written.
        option: the option that names them, for the message.
        is_own: whether a file is an output of an earlier evaluation.

    Raises:
        ValueError: one would replace a file of the dataset.
        FileExistsError: one would replace a file that is no such output.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if not there:  # then the other splits, which may be large, need not be read
        return
    _refuse(there, dataset.files(), option)
    for path in there:
        refuse_foreign(path, is_own)
    for split in SPLIT_NAMES:
        if split != dataset.split:
            _refuse(there, _files(dataset, task, split), option)


def _refuse(paths: list[Path], files: list[Path], option: str) -> None:
    own = {path.resolve() for path in files}
    taken = next((path.resolve() for path in paths if path.resolve() in own), None)
    if taken:
        raise ValueError(f"{taken} is a file of the dataset, which {option} would replace; choose another place")


def _files(dataset: ImageData, task: str, split: str) -> list[Path]:
    """The files of another split, whose annotations may be results of srzoo; none if it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_split(split=split, task=task, **dataset.reading.given()).files()
        except (ValueError, OSError):
            return []
