"""Draw Fig. 4(a) of the paper, ``bench/results/fig4a.png``, from the measurements of ``bench/resolution.py``.

pip install '.[plot]' && python bench/fig4a.py
"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from paired import RESULTS, read_csv

STYLES = {  # colour, and whether dashed
    "SR direct": ("#d62728", True),
    "SR direct, compiled": ("#ff9896", True),
    "SR": ("#d62728", False),
    "SR folded": ("#8c1515", False),
    "SR released, direct": ("#e377c2", True),
    "SR released": ("#e377c2", False),
    "NL direct": ("#1f77b4", True),
    "NL": ("#1f77b4", False),
    "A2Net": ("#2ca02c", False),
    "CGNL": ("#bcbd22", False),
    "RCCA": ("#9467bd", False),
    "DANet direct": ("#17becf", True),
    "DANet": ("#17becf", False),
    "EMAU": ("#8c564b", False),
    "SE": ("#7f7f7f", False),
    "ASPP": ("#ff7f0e", False),
    "PSP": ("#ffbb78", False),
}
GAP = 0.028  # between two labels, as a fraction of the axis


def pixels(row: dict[str, str]) -> int:
    return int(row["height"]) * int(row["width"])


def draw(axis: Axes, rows: list[dict[str, str]], quantity: str) -> None:
    """Draw a line per method, with its name at the end, and a cross where it ran out of memory."""
    ends = []
    for method, (colour, dashed) in STYLES.items():
        own = [row for row in rows if row["method"] == method]
        points = [(pixels(row), float(row[quantity])) for row in own if row["status"] == "measured"]
        if not points:
            continue
        axis.plot(*zip(*points), "--" if dashed else "-", marker="o", markersize=3, color=colour, linewidth=1.6)
        x, y = points[-1]
        failed = next((pixels(row) for row in own if row["status"] == "out of memory"), None)
        if failed:
            # Extrapolate to the next size, with the slope of the last two points.
            (x0, y0), (x1, y1) = points[-2:]
            x, y = failed, y1 * (failed / x1) ** (math.log(y1 / y0) / math.log(x1 / x0))
            axis.plot([x1, x], [y1, y], ":", color=colour, linewidth=1)
            axis.plot(x, y, "X", markersize=9, color=colour)
        ends.append((y, x, colour, method))
    label(axis, ends)


def label(axis: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write the names beside the axis, in the order of the lines and at least `GAP` apart."""
    low, high = (math.log(limit) for limit in axis.get_ylim())
    places: list[float] = []
    for y, *_ in sorted(ends):
        place = (math.log(y) - low) / (high - low)
        places.append(max(place, places[-1] + GAP) if places else place)
    ceiling = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - GAP
    for (y, x, colour, method), place in zip(sorted(ends), places, strict=True):
        axis.annotate(
            method,
            (x, y),
            (1.06, place),
            textcoords="axes fraction",
            color=colour,
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6},
        )


def main() -> None:
    rows = read_csv(RESULTS / "resolution.csv")
    sizes = sorted({(pixels(row), f"{row['height']}x{row['width']}") for row in rows})
    names = ["" if name == "192x192" else name for _, name in sizes]  # its label would overlap that of 128x256
    figure, axes = plt.subplots(1, 2, figsize=(15, 7.5))
    titles = {"ms": "time, milliseconds", "extra_mib": "peak memory beyond module and input, MiB"}
    for axis, (quantity, title) in zip(axes, titles.items(), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="feature map, 512 channels", title=title)
        axis.set_xticks([count for count, _ in sizes], names, rotation=45, ha="right", fontsize=8)
        axis.minorticks_off()
        axis.grid(color="0.92")
        axis.spines[["top", "right"]].set_visible(False)
        draw(axis, rows, quantity)
    measured = rows[0]
    figure.suptitle("Time and memory of context modules against resolution (Fig. 4a)")
    figure.text(
        0.01,
        0.01,
        f"Inference, float32, batch 1, {measured['threads']} threads, {measured['device']}, torch {measured['torch']}. "
        f"Dashed: stores every intermediate, as in the source. X: out of memory at {measured['memory_limit_gib']} GiB "
        "beyond module and input.\nLines that end earlier were too slow to continue. Denormals are flushed to zero.",
        fontsize=8,
        color="0.35",
    )
    figure.tight_layout(rect=(0, 0.05, 1, 1), w_pad=4)
    figure.savefig(RESULTS / "fig4a.png", dpi=110)


if __name__ == "__main__":
    main()
