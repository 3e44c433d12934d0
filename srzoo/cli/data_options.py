"""What every command that reads a dataset shares: its options, and the check before a long run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..messages import and_more

if TYPE_CHECKING:
    from ..data.samples import ImageData

_CHECKED = 32  # pairs of each split that are read before training


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name the data, for training and evaluation."""
    parser.add_argument("--data.root", dest="root", required=True, metavar="PATH", help="folder of the dataset")
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say how a dataset's files are read."""
    parser.add_argument(
        "--data.format",
        "--format",
        dest="format",
        metavar="NAME",
        help="format of the dataset (default: the one its folder looks like)",
    )
    parser.add_argument(
        "--data.id_map",
        dest="id_map",
        type=yaml_value,
        metavar="MAP",
        help="from the values in masks, or colours, to class ids: '{0: 255, 1: 0}' or \"{'#ff0000': 0}\", 255 for void",
    )


def yaml_value(text: str):
    """Parsed YAML; argparse reports anything else as an error in the option."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"not YAML: {text!r}") from error


def yaml_mapping(text: str) -> dict:
    """A YAML mapping; argparse reports anything else as an error in the option."""
    value = yaml_value(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"not keys and values, such as '{{nodes: 32}}': {text!r}")
    return value


def check_quickly(splits: dict[str, ImageData], num_classes: int, root: str, may_be_void: bool = False) -> None:
    """Check some of the files of each split.

    Args:
        splits: by name, all of one dataset.
        num_classes: of the model.
        root: folder of the dataset, for the message.
        may_be_void: allow masks that are void throughout.

    Raises:
        ValueError: something is wrong; the message has the first problem and the number of others.
    """
    from ..data.check import check_splits
    from ..labels import IGNORE

    report = check_splits(splits, num_classes, limit=_CHECKED)
    if may_be_void and all(value == IGNORE for facts in report.splits.values() for value in facts.pixels):
        return
    if report.errors:
        raise ValueError(f"{and_more(report.errors)}; `srzoo data check {root}` lists all, and what to do")
