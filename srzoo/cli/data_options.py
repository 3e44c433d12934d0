"""The options that are common to all commands that read a dataset."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_options

_BLOCK = "data."


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the dataset, for training and evaluation."""
    parser.add_argument("--data.root", dest="data.root", required=True, metavar="PATH", help="folder of the dataset")
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the files of a dataset are read."""
    from ..data.reading import Reading

    add_options(parser, Reading, "how the dataset is read", block=_BLOCK, skipped=(f"{_BLOCK}root",))
    parser.add_argument("--format", dest=f"{_BLOCK}format", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def given_reading(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_data_arguments` that were given, by the names that `open_dataset` has for them."""
    return {name.removeprefix(_BLOCK): value for name, value in vars(options).items() if name.startswith(_BLOCK)}
