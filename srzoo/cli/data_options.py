"""The options that every command that reads a dataset shares."""

from __future__ import annotations

import argparse

from .arguments import yaml_value


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
