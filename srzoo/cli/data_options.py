"""The options that are common to all commands that read a dataset."""

from __future__ import annotations

import argparse

from .arguments import yaml_value


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the dataset, for training and evaluation."""
    parser.add_argument("--data.root", dest="root", required=True, metavar="PATH", help="folder of the dataset")
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the files of a dataset are read."""
    parser.add_argument(
        "--data.format",
        "--format",
        dest="format",
        metavar="NAME",
        help="format of the dataset (default: detected from its folder)",
    )
    parser.add_argument(
        "--data.id_map",
        dest="id_map",
        type=yaml_value,
        metavar="MAP",
        help="class id of each value or colour in the masks, 255 for void: '{0: 255, 1: 0}' or \"{'#ff0000': 0}\"",
    )
