"""How the data is read that a model is evaluated on. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.opening import detect_format
from ..data.reading import check_root
from ..recipes.recipe import reading_of


def reading_for(model: str | Path, task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `srzoo.data.opening.open_dataset` for a model, ``root`` among them.

    The data is read as given, and else as the data that the model was trained on, if it is alike.

    Args:
        model: a name, or a file; that of a run tells how its data was read.
        task: name of the task.
        given: arguments that were given.

    Raises:
        ValueError: neither tells which folder is read.
        FileNotFoundError: there is no such folder.
    """
    learnt = reading_of(model).given()
    root = given.get("root", learnt.get("root"))
    check_root({"root": root})
    if "root" not in given and not Path(root).is_dir():
        raise FileNotFoundError(f"no folder {root}, on which {model} was trained; pass its place as --data.root PATH")
    if given.keys() & {"format", "images"}:
        return {**given, "root": root}
    if "root" in learnt and Path(root) == Path(learnt["root"]):
        return {**learnt, **given}
    format = detect_format(root, task)
    return {**learnt, **given} if learnt.get("format") == format else {**given, "format": format}
