"""Check a dataset before training on it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from .data_options import add_reading_arguments

if TYPE_CHECKING:
    from ..data.check import Report, SplitFacts

_SHOWN = 50  # problems to list at most
_UNKNOWN = 12  # values without a class to list at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    summary = "read every image and mask, list what would fail in training, and propose an id map and class weights"
    check = actions.add_parser("check", help=summary, description=summary[0].upper() + summary[1:] + ".")
    check.add_argument("root", metavar="ROOT", help="folder of the dataset")
    add_reading_arguments(check)
    check.add_argument("--num_classes", type=int, metavar="N", help="number of classes of the model to train")
    check.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="number of processes that read files (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    from ..data.check import check

    report = check(options.root, options.format, options.num_classes, options.id_map, options.workers)
    detected = "" if options.format else ", detected; choose another with --data.format NAME"
    print(f"format  {report.format}{detected}")
    for split, facts in report.splits.items():
        print(f"{split:7} {facts.images} images{_sizes(facts)}")
    print("\n".join(["", *class_table(report)]))
    problems = [f"error: {text}" for text in report.errors] + [f"warning: {text}" for text in report.warnings]
    if problems:
        print("\n".join(["", *problems[:_SHOWN]]))
        if len(problems) > _SHOWN:
            print(f"and {len(problems) - _SHOWN} more")
    print("\n".join(["", *proposal(report)]))
    return 2 if report.errors else 0


def _sizes(facts: SplitFacts) -> str:
    if not facts.sizes:
        return ""
    low, high = min(facts.sizes, key=_area), max(facts.sizes, key=_area)
    smallest, largest = (f"{width}x{height}" for height, width in (low, high))
    return f", {largest}" if low == high else f", {smallest} to {largest}"


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def class_table(report: Report) -> list[str]:
    """The printed table: id, name, values in the masks and share of the pixels in each split.

    It has a line for each class, for void, and for each value without a class; no lines without any class.
    """
    from ..data.check import class_name
    from ..labels import IGNORE

    counts = [report.class_pixels(split) for split in report.splits]
    unknown = [report.unknown_pixels(split) for split in report.splits]
    present = [i for i in range(IGNORE) if i < (report.num_classes or 0) or any(each[i] for each in counts)]
    if not present:
        return []
    stored = _stored(report)
    totals = [each.sum() + sum(others.values()) for each, others in zip(counts, unknown)]
    rows = [["id", "class", "in the masks", *report.splits]]
    for i in [*present, IGNORE]:
        name = "void" if i == IGNORE else class_name(report.labels, i)
        rows.append([str(i), name, stored.get(i, ""), *_shares([each[i] for each in counts], totals)])
    for value in sorted(set().union(*unknown))[:_UNKNOWN]:
        shares = _shares([each.get(value, 0) for each in unknown], totals)
        rows.append(["-", "not in the id map", report.id_map.key_name(value), *shares])
    return _aligned(rows)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows as lines of text; the second and third column are aligned left, all others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    signs = [">", "<", "<", *">" * (len(widths) - 3)]
    return ["  ".join(f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths)) for row in rows]


def _stored(report: Report) -> dict[int, str]:
    """For each class id the values or colours in the masks, four of them at most."""
    names: dict[int, list[str]] = {}
    for value in sorted({value for facts in report.splits.values() for value in facts.pixels}):
        if value in report.id_map:
            names.setdefault(report.id_map[value], []).append(report.id_map.key_name(value))
    return {i: " ".join(each[:4]) + (" ..." if len(each) > 4 else "") for i, each in names.items()}


def _shares(counts: list[int], totals: list[int]) -> list[str]:
    return [f"{count / total:.2%}" if count else "-" for count, total in zip(counts, totals)]


def proposal(report: Report) -> list[str]:
    """Options of ``srzoo train`` for this dataset, as lines to print."""
    from ..data.shares import class_weights, shares_of
    from ..labels import IGNORE

    options = []
    if report.num_classes and not report.labels:
        options.append(f"--num_classes {report.num_classes}")
    if report.is_proposed:
        options.append(f'--data.id_map "{report.id_map.to_yaml()}"')
    counts = next(report.class_pixels(split) for split in report.splits)[:IGNORE][: report.num_classes]
    if counts.any() and (report.is_proposed or not report.errors):
        weights = class_weights(shares_of(counts))
        options.append(f"--class_weights {' '.join(f'{weight:.3f}' for weight in weights)}")
    if not options:
        return []
    return ["proposed options for `srzoo train`; check them before use:", *(f"  {option}" for option in options)]
