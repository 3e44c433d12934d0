"""The options of `segment` and `eval` that say how an image is passed to a model: the ``View`` of each task."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Container
from typing import Any

from ..options import keys, option
from ..tasks.task import TASKS, get_task, make_view
from .arguments import add_options, default_of, given_options


def add_view_options(parser: argparse.ArgumentParser, measured: bool, skipped: Container[str] = ()) -> None:
    """Add the fields of each task's ``View``, in a group for each set of tasks that share a field.

    Args:
        parser: the parser to add them to.
        measured: whether the defaults in the help are those with which figures are measured.
        skipped: names that the parser already has.
    """
    views = {name: make_view(get_task(name), {}, measured=measured) for name in TASKS}
    groups: dict[tuple[str, ...], list[tuple]] = {}
    for task, view in views.items():
        for name, key in keys(type(view)).items():
            defaults = {each: getattr(other, name) for each, other in views.items() if name in keys(type(other))}
            if task == next(iter(defaults)) and name not in skipped:
                field = option(f"{key.help}{default_of(defaults)}", defaults[task])
                groups.setdefault(tuple(defaults), []).append((name, key.kind, field))
    for tasks, fields in groups.items():
        shared = dataclasses.make_dataclass("Fields", fields)
        add_options(parser, shared, f"{' and '.join(tasks)} models", with_defaults=False)


def given_view(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_view_options` that were given, for `make_view`."""
    return {name: value for task in TASKS for name, value in given_options(options, get_task(task).View).items()}
