"""Fig. 3 of the paper: nodes and channel reduction of the block, by cost, and by mIoU where they were trained.

    pip install '.[plot]' && python bench/fig3.py

The cost is that of the block at 512 channels and 96x96, counted on the meta device: parameters, multiply-adds of the
equations and of ``forward``. The mIoU is of `bench/ablation.py`, whose rows are in ``bench/results/ablation.csv``: the
paper's head on CamVid after three epochs. A setting without a row there was not trained. Writes
``bench/results/fig3.csv`` and ``fig3.png``.
"""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING

import torch
from counting import multiply_adds
from paired import RESULTS, machine, read_csv, told, write_csv

from srzoo.layers import SqueezeReasoning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHANNELS, MAP = 512, (1, 512, 96, 96)
NODES, REDUCTIONS = (4, 8, 16, 32, 64), (1, 2, 4, 8)  # 16 nodes and a reduction of 2 are the paper's choice
TRAINED = {("nodes", 16): "sr hadamard graph", ("reduction", 2): "sr hadamard graph"}


def measured(rows: list[dict[str, str]], name: str, value: int) -> list[float]:
    """The mIoU in percent of each seed; empty where it was not trained."""
    variant = TRAINED.get((name, value), f"sr {name} {value}")
    return [100 * float(row["miou"]) for row in rows if (row["setting"], row["variant"]) == ("paper", variant)]


def line(rows: list[dict[str, str]], name: str, value: int) -> dict[str, object]:
    """A row of the CSV."""
    with torch.device("meta"):
        block = SqueezeReasoning(CHANNELS, **{name: value}).eval()
    miou = measured(rows, name, value)
    return {
        "setting": name,
        "value": value,
        "parameters": sum(each.numel() for each in block.parameters()),
        "multiply_adds_g": round(multiply_adds(block.forward_direct, MAP), 4),
        "executed_g": round(multiply_adds(block, MAP), 4),
        "seeds": len(miou),
        "miou": round(statistics.mean(miou), 2) if miou else "not trained",
        "spread": round(max(miou) - min(miou), 2) if miou else "",
    }


def draw(axis: Axes, lines: list[dict], rows: list[dict[str, str]], title: str) -> None:
    """Bars for the cost, and a dot for each seed that was trained."""
    places = range(len(lines))
    axis.bar(places, [each["multiply_adds_g"] for each in lines], color="0.85", width=0.6)
    axis.set_ylabel("multiply-adds of the equations, G", color="0.45")
    axis.set_xticks(places, [str(each["value"]) for each in lines])
    axis.set_xlabel(title)
    other = axis.twinx()
    for place, each in zip(places, lines):
        values = measured(rows, each["setting"], each["value"])
        other.plot([place] * len(values), values, "o", color="tab:blue", alpha=0.8)
        if not values:
            axis.annotate("not trained", (place, 0.3 * each["multiply_adds_g"]), ha="center", fontsize=8, rotation=90)
    none = [100 * float(row["miou"]) for row in rows if (row["setting"], row["variant"]) == ("paper", "none")]
    other.axhspan(min(none), max(none), color="tab:orange", alpha=0.2)
    other.set_ylim(35, 42)
    other.set_ylabel("val mIoU in %, a dot per seed", color="tab:blue")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()  # it has no options
    import matplotlib.pyplot as plt  # here, as --help does without it

    rows = read_csv(RESULTS / "ablation.csv")
    nodes = [line(rows, "nodes", value) for value in NODES]
    reductions = [line(rows, "reduction", value) for value in REDUCTIONS]
    facts = machine("cpu", torch.get_num_threads(), 1)
    write_csv([{**each, **facts} for each in [*nodes, *reductions]], RESULTS / "fig3.csv")
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    draw(axes[0], nodes, rows, "nodes, reduction 2")
    draw(axes[1], reductions, rows, "reduction, 16 nodes")
    figure.suptitle("Nodes and channel reduction (Fig. 3). Orange: the same network without the block, over its seeds")
    figure.savefig(RESULTS / "fig3.png", dpi=110)


if __name__ == "__main__":
    told(main)
