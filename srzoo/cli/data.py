"""Look at a data set before training on it."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from .data_options import add_id_map_argument

if TYPE_CHECKING:
    from ..data.check import Report, SplitFacts

_SHOWN = 50  # problems of one data set that are listed
_UNKNOWN = 12  # values that are no class's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    summary = "read every image and mask; say what training would fail on, and propose an id map and class weights"
    check = actions.add_parser("check", help=summary, description=summary[0].upper() + summary[1:] + ".")
    check.add_argument("root", metavar="ROOT", help="folder of the data set")
    check.add_argument(
        "--data.format",
        "--format",
        dest="format",
        metavar="NAME",
        help="of the data set (default: what the folder looks like)",
    )
    check.add_argument("--num_classes", type=int, metavar="N", help="classes of the model to be trained")
    add_id_map_argument(check)
    check.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that read (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from ..data.check import check

    report = check(options.root, options.format, options.num_classes, options.id_map, options.workers)
    detected = "" if options.format else ", as the folder looks like it; --data.format NAME takes another"
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
    """A line for each class: its id, its name, what is stored for it, its share of each split; then values of none."""
    from ..data.check import class_name
    from ..data.masks import hex_colour
    from ..labels import IGNORE

    counts = {split: report.class_pixels(split) for split in report.splits}
    present = [i for i in range(IGNORE) if i < (report.num_classes or 0) or any(c[i] for c in counts.values())]
    if not present:
        return []
    unknown = {split: report.unknown_pixels(split) for split in report.splits}
    total = {split: counts[split].sum() + sum(unknown[split].values()) for split in report.splits}

    def share(count: int, split: str) -> str:
        return f"{count / total[split]:.2%}" if count else "-"

    stored = {i: [] for i in [*present, IGNORE]}
    for value in sorted({value for facts in report.splits.values() for value in facts.pixels}):
        if value in report.id_map:
            stored[report.id_map[value]].append(hex_colour(value) if report.id_map.has_colours else str(value))
    rows = [["id", "class", "in the masks", *counts]]
    for i in [*present, IGNORE]:
        name = "void" if i == IGNORE else class_name(report.labels, i)
        row = [str(i), name, " ".join(stored[i][:4]) + (" ..." if len(stored[i]) > 4 else "")]
        rows.append([*row, *(share(counts[split][i], split) for split in counts)])
    for value in sorted(set().union(*unknown.values()))[:_UNKNOWN]:
        name = hex_colour(value) if report.id_map.has_colours else str(value)
        rows.append(["-", "not in the id map", name, *(share(unknown[split].get(value, 0), split) for split in counts)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.ljust(w) if i in (1, 2) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    ]


def proposal(report: Report) -> list[str]:
    """What to do next, as options to paste."""
    from ..data.shares import class_weights, shares_of
    from ..labels import IGNORE

    options = []
    if report.num_classes and not report.labels:
        options.append(f"--num_classes {report.num_classes}")
    if report.is_proposed:
        options.append(f"--data.id_map '{_flow(report.id_map.mapping)}'")
    counts = next(report.class_pixels(split) for split in report.splits)[:IGNORE][: report.num_classes]
    if counts.any() and (report.is_proposed or not report.errors):
        weights = class_weights(shares_of(counts))
        options.append(f"--class_weights {' '.join(f'{weight:.3f}' for weight in weights)}")
    if not options:
        return []
    return ["options for `srzoo train`, to be read before they are used:", *(f"  {option}" for option in options)]


def _flow(mapping: dict) -> str:
    """A mapping as YAML on one line, without quotes that a shell would end."""
    keys = {key: f'"#{bytes(key).hex()}"' if isinstance(key, tuple) else json.dumps(key) for key in mapping}
    return "{" + ", ".join(f"{keys[key]}: {class_id}" for key, class_id in mapping.items()) + "}"
