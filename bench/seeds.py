"""What runs that differ in their seed say together: mean, spread, and the interval of a difference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the difference of the means of two samples of unequal variance."""
    from scipy.stats import t

    parts = [statistics.variance(each) / len(each) for each in (a, b)]
    total, difference = sum(parts), statistics.mean(a) - statistics.mean(b)
    if not total:
        return difference, difference
    degrees = total**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (a, b), strict=True))
    half = t.ppf(0.975, degrees) * math.sqrt(total)
    return difference - half, difference + half


def groups(rows: Sequence[dict[str, str]], axes: Sequence[str], axis: str) -> dict[str, dict[str, list[float]]]:
    """The last figures in percent, by the values of ``axis``, within each combination of the other axes.

    Runs on a CPU and on each kind of GPU, which compute in other precisions, are groups of their own.
    """
    places = {_place(row) for row in rows}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        named = [*(row[name] for name in axes if name != axis), *([_place(row)] if len(places) > 1 else [])]
        found.setdefault(" ".join(named), {}).setdefault(row[axis], []).append(100 * float(row["last"]))
    return found


def _place(row: dict[str, str]) -> str:
    return "CPU" if " cores" in row["device"] else row["device"]


def lines(rows: Sequence[dict[str, str]], axes: dict[str, Sequence[str]], axis: str) -> list[str]:
    """A line for each value of an axis, within each combination of the others.

    Args:
        rows: of the finished runs.
        axes: the values of each axis; a value is compared with the first one.
        axis: a key of ``axes``.
    """
    first, texts = axes[axis][0], []
    for title, values in groups(rows, list(axes), axis).items():
        for name, found in values.items():
            text = f"{title} {name}".strip() + f": {statistics.mean(found):.2f} over {len(found)} seed"
            if len(found) > 1:
                text += f"s, standard deviation {statistics.stdev(found):.2f}"
            if name != first and min(len(found), len(values.get(first, ()))) > 1:
                low, high = welch(found, values[first])
                difference = statistics.mean(found) - statistics.mean(values[first])
                text += f"; against {first} {difference:+.2f} ({low:+.2f} to {high:+.2f}, 95 %)"
            texts.append(text)
    return texts


def draw(rows: Sequence[dict[str, str]], axes: dict[str, Sequence[str]], axis: str, file: Path) -> None:
    """Draw each run as a dot, and the mean of a value with its 95 % interval; the range of the first value in gray."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from scipy.stats import t

    panels, names = groups(rows, list(axes), axis), list(axes[axis])
    size = (max(5.0, 4.6 * len(panels)), 1.4 + 0.3 * len(names))
    figure, plots = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for plot, (title, values) in zip(plots[0], panels.items(), strict=True):
        if names[0] in values:
            plot.axvspan(min(values[names[0]]), max(values[names[0]]), color="0.9", zorder=0)
        for name, found in values.items():
            place = names.index(name)
            plot.plot(found, [place] * len(found), "o", color="tab:blue", alpha=0.6)
            half = 0.0
            if len(found) > 1:
                half = t.ppf(0.975, len(found) - 1) * statistics.stdev(found) / math.sqrt(len(found))
            plot.errorbar(statistics.mean(found), place, xerr=half, fmt="|", color="black", markersize=12)
        plot.set(title=title or axis, xlabel=f"{rows[0]['headline']} on val in %")
        plot.set_yticks(range(len(names)), names)
        plot.set_ylim(len(names) - 0.4, -0.6)
        plot.grid(axis="x", color="0.9")
    figure.savefig(file, dpi=110)
    plt.close(figure)
