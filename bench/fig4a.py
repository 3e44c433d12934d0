"""Draw Fig. 4(a) of the paper, ``bench/results/fig4a.png``, from the measurements of ``bench/resolution.py``.

pip install '.[plot]' && python bench/fig4a.py
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from paired import RESULTS, read_csv, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {  # colour, line style and width; ours stand out
    "SR": ("#d62728", "-", 2.6),
    "SR folded": ("#8c1515", "-", 2.6),
    "SR direct": ("#d62728", "--", 1.6),
    "SR released": ("#e377c2", "-", 1.6),
    "NL": ("#1f77b4", "-", 1.2),
    "NL direct": ("#1f77b4", "--", 1.2),
    "DANet direct": ("#17becf", "--", 1.2),
    "A2Net": ("#2ca02c", "-", 1.2),
    "CGNL": ("#bcbd22", "-", 1.2),
    "RCCA": ("#9467bd", "-", 1.2),
    "EMAU": ("#8c564b", "-", 1.2),
    "SE": ("#7f7f7f", "-", 1.2),
    "ASPP": ("#ff7f0e", "-", 1.2),
    "PSP": ("#ffbb78", "-", 1.2),
}
LISTED = 128 * 128  # pixels of the feature map at which the lines are listed, the largest that every method reached


def pixels(row: dict[str, str]) -> int:
    return int(row["height"]) * int(row["width"])


def draw(axis: Axes, rows: list[dict[str, str]], quantity: str) -> None:
    """Draw a line per method, a cross where it ran out of memory, and the list of their values from high to low."""
    lines = []
    for method, (colour, style, width) in STYLES.items():
        own = [row for row in rows if row["method"] == method]
        points = [(pixels(row), float(row[quantity])) for row in own if row["status"] == "measured"]
        if not points:
            continue
        (line,) = axis.plot(*zip(*points), style, marker="o", markersize=3, color=colour, linewidth=width)
        lines.append((dict(points).get(LISTED, math.nan), method, line))
        failed = next((pixels(row) for row in own if row["status"] == "out of memory"), None)
        if failed:
            # Extrapolate to the next size, with the slope of the last two points.
            (x0, y0), (x1, y1) = points[-2:]
            y = y1 * (failed / x1) ** (math.log(y1 / y0) / math.log(x1 / x0))
            axis.plot([x1, failed], [y1, y], ":", color=colour, linewidth=1)
            axis.plot(failed, y, "X", markersize=9, color=colour)
    lines.sort(key=lambda each: each[0], reverse=True)
    axis.axvline(LISTED, color="0.75", linewidth=1, zorder=0)
    axis.legend(
        [line for *_, line in lines],
        [f"{value:,.0f}  {method}" for value, method, _ in lines],
        title="at 128x128",
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize=9,
        alignment="left",
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()  # it has no options
    import matplotlib.pyplot as plt  # here, as --help does without it

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
    told(main)
