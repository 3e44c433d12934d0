"""The options that are common to all commands that read a dataset."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_options

_BLOCK = "data."


def add_data_arguments(parser: argparse.ArgumentParser, with_root: bool = True) -> None:
    """Add the options that say which dataset is read, and how."""
    from ..data.reading import Reading

    skipped = () if with_root else (f"{_BLOCK}root",)
    add_options(parser, Reading, "how the dataset is read", block=_BLOCK, skipped=skipped)
    add_old_names(parser)


def add_old_names(parser: argparse.ArgumentParser) -> None:
    """Add names of options that are not in the help any more."""
    parser.add_argument("--format", dest=f"{_BLOCK}format", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def given_reading(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_data_arguments` that were given, by the names that `open_dataset` has for them."""
    return {name.removeprefix(_BLOCK): value for name, value in vars(options).items() if name.startswith(_BLOCK)}
