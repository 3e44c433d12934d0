"""What the check of a dataset found in its masks, as a table, and the options that follow from it. Imports no torch."""

from __future__ import annotations

from ...data.report import Report, aligned, class_name, share
from ...labels import IGNORE
from .shares import class_weights, shares_of

_UNKNOWN = 12  # values without a class that are listed


def class_table(report: Report) -> list[str]:
    """A line for each class, void, and value without a class: id, name, stored values, share of each split's pixels."""
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
        rows.append([str(i), name, stored.get(i, ""), *map(share, [each[i] for each in counts], totals)])
    for value in sorted(set().union(*unknown))[:_UNKNOWN]:
        shares = map(share, [each.get(value, 0) for each in unknown], totals)
        rows.append(["-", "not in the id map", report.id_map.key_name(value), *shares])
    return aligned(rows, left=3)


def _stored(report: Report) -> dict[int, str]:
    """The first four values or colours that occur in masks for each class id."""
    names: dict[int, list[str]] = {}
    for value in sorted({value for facts in report.splits.values() for value in facts.pixels}):
        if value in report.id_map:
            names.setdefault(report.id_map[value], []).append(report.id_map.key_name(value))
    return {i: " ".join(each[:4]) + (" ..." if len(each) > 4 else "") for i, each in names.items()}


def proposed_options(report: Report) -> list[str]:
    """The options of ``srzoo train`` that the masks call for: number of classes, id map, class weights."""
    options = []
    if report.num_classes and not report.labels:
        options.append(f"--num_classes {report.num_classes}")
    if report.is_proposed:
        options.append(f'--data.id_map "{report.id_map.to_yaml()}"')
    options += [f"--data.{name} {str(value).lower()}" for name, value in report.options.items()]
    counts = next(report.class_pixels(split) for split in report.splits)[:IGNORE][: report.num_classes]
    if counts.any() and (report.is_proposed or not report.errors):
        weights = class_weights(shares_of(counts))
        options.append(f"--semantic.class_weights {' '.join(f'{weight:.3f}' for weight in weights)}")
    return options
