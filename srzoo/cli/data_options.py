"""What every command that reads a data set has: its options, and the check before a long run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.samples import SegmentationData

_CHECKED = 32  # pairs of each split that are read before training


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which data: for training and evaluation."""
    parser.add_argument("--data.root", dest="root", required=True, metavar="PATH", help="folder of the data set")
    parser.add_argument(
        "--data.format", dest="format", metavar="NAME", help="of the data set (default: what the folder looks like)"
    )
    add_id_map_argument(parser)


def add_id_map_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data.id_map",
        dest="id_map",
        type=yaml_value,
        metavar="MAP",
        help="from the masks' values, or colours, to class ids: '{0: 255, 1: 0}' or \"{'#ff0000': 0}\", 255 for void",
    )


def yaml_value(text: str):
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"not YAML: {text!r}") from error


def yaml_mapping(text: str) -> dict:
    value = yaml_value(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"not keys and values, such as '{{nodes: 32}}': {text!r}")
    return value


def check_quickly(splits: dict[str, SegmentationData], num_classes: int, root: str, may_be_void: bool = False) -> None:
    """The check over some of the files.

    Args:
        may_be_void: allow masks without a label in any of them.

    Raises:
        ValueError: what it found first.
    """
    from ..data.check import check_splits
    from ..labels import IGNORE

    report = check_splits(splits, num_classes, limit=_CHECKED)
    if may_be_void and all(value == IGNORE for facts in report.splits.values() for value in facts.pixels):
        return
    if report.errors:
        more = f", and {len(report.errors) - 1} more" if len(report.errors) > 1 else ""
        raise ValueError(f"{report.errors[0]}{more}; `srzoo data check {root}` says all and what to do")
