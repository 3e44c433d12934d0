"""Check a dataset before training on it, or convert it to the plain layout."""

from __future__ import annotations

import argparse
import contextlib
import os
from shlex import quote
from typing import TYPE_CHECKING

from ..messages import and_more, visible
from .arguments import path_argument
from .data_options import add_data_arguments, given_reading

if TYPE_CHECKING:
    from ..data.report import SplitFacts

_SHOWN = 50  # problems to list at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    summary = "read every image and annotation, list what would fail in training, and propose options"
    check = actions.add_parser("check", help=summary, description=summary[0].upper() + summary[1:] + ".")
    check.add_argument("root", metavar="ROOT", help="folder of the dataset")
    add_data_arguments(check, with_root=False)
    check.add_argument("--task", default="semantic", metavar="NAME", help="task to check it for (default: %(default)s)")
    check.add_argument("--num_classes", type=int, metavar="N", help="number of classes of the model to train")
    check.add_argument(
        "--in_channels",
        type=int,
        default=3,
        metavar="N",
        help="channels of the images of the model to train (default: %(default)s)",
    )
    check.add_argument(
        "--workers", type=int, default=_processes(), help="number of processes that read files (default: %(default)s)"
    )
    summary = "write any dataset that can be read as images/, masks/ and classes.txt; objects as COCO's JSON"
    convert = actions.add_parser("convert", help=summary, description=summary[0].upper() + summary[1:] + ".")
    convert.add_argument("root", metavar="IN", help="folder of the dataset")
    convert.add_argument("out", type=path_argument, metavar="OUT", help="the folder to write, new or empty")
    add_data_arguments(convert, with_root=False)
    convert.add_argument(
        "--task", default="semantic", metavar="NAME", help="semantic or instance (default: %(default)s)"
    )


def _processes() -> int:
    """The processors that this process may use; Windows takes 61 processes at most."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, 61)


def run(options: argparse.Namespace) -> int:
    return _convert(options) if options.action == "convert" else _check(options)


def _convert(options: argparse.Namespace) -> int:
    from ..data.conversion import convert
    from ..data.files import SPLIT_NAMES, NoSplit
    from ..data.opening import detect_format, read_split

    given, splits = given_reading(options), {}
    if not given.keys() & {"format", "images"}:
        given["format"] = detect_format(options.root, options.task)
    for split in SPLIT_NAMES:
        with contextlib.suppress(NoSplit):
            splits[split] = read_split(options.root, split, task=options.task, **given)
    if not splits:
        raise ValueError(f"{options.root} has no split of format {given.get('format')!r}")
    converted = convert(splits, options.out)
    for split, count in converted.images.items():
        print(f"{split:7} {count} images")
    if converted.problems:
        print(and_more([f"left out: {text}" for text in converted.problems], _SHOWN, "\n"))
    print(f"check it with `srzoo data check {quote(str(options.out))} --task {options.task}`")
    return 2 if converted.problems else 0


def _check(options: argparse.Namespace) -> int:
    from ..data.check import check
    from ..tasks.task import get_task

    task = get_task(options.task)
    given = given_reading(options)
    report = check(
        options.root,
        num_classes=options.num_classes,
        workers=options.workers,
        task=options.task,
        channels=options.in_channels,
        **given,
    )
    detected = "" if given.get("format") else ", detected; choose another with --data.format NAME"
    print(f"format  {report.format}{detected}")
    for split, facts in report.splits.items():
        print(f"{split:7} {facts.images} images{_sizes(facts)}")
    print("\n".join(["", *map(visible, task.describe(report))]))
    problems = [f"error: {text}" for text in report.errors] + [f"warning: {text}" for text in report.warnings]
    if problems:
        print("\n" + and_more([visible(problem) for problem in problems], _SHOWN, "\n"))
    options_to_paste = task.proposed_options(report)
    if options_to_paste:
        heading = "proposed options for `srzoo train`; check them before use:"
        print("\n".join(["", heading, *(f"  {option}" for option in options_to_paste)]))
    return 2 if report.errors else 0


def _sizes(facts: SplitFacts) -> str:
    if not facts.sizes:
        return ""
    low, high = min(facts.sizes, key=_area), max(facts.sizes, key=_area)
    smallest, largest = (f"{width}x{height}" for height, width in (low, high))
    return f", {largest}" if low == high else f", {smallest} to {largest}"


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
