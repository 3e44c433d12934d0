"""Table 1 of the paper, measured: how time and peak memory grow with resolution, and the orders in the paper.

    python bench/table1.py

Fits ``quantity = a (HW)^exponent`` to the measurements of ``bench/resolution.py`` from 64x64 on, and writes
``bench/results/table1.csv``. The paper's orders are those of the affinity alone. A measurement also includes the 1x1
convolutions and the maps, which are linear in ``HW``. A direct form stores the affinity; the other form of the same
name does not.
"""

from __future__ import annotations

import argparse

import numpy as np
from paired import RESULTS, read_csv, write_csv

# Per method: order of the computation as printed and its exponent in HW on a square map, then the same for memory.
ORDERS = {
    "NL direct": ("O(C (HW)^2)", 2.0, "O((HW)^2)", 2.0),
    "NL": ("O(C (HW)^2)", 2.0, "O((HW)^2)", 2.0),
    "A2Net": ("O(C^2 HW)", 1.0, "O(C^2)", 0.0),
    "CGNL": ("O(C HW P)", 1.0, "O(P^2)", 0.0),
    "RCCA": ("O(C HW (H + W))", 1.5, "O(HW (H + W))", 1.5),
    "DANet direct": ("O(C (HW)^2 + HW C^2)", 2.0, "O((HW)^2 + C^2)", 2.0),
    "DANet": ("O(C (HW)^2 + HW C^2)", 2.0, "O((HW)^2 + C^2)", 2.0),
    "SR direct": ("O(C HW + C)", 1.0, "O(K^2 + M^2)", 0.0),
    "SR": ("O(C HW + C)", 1.0, "O(K^2 + M^2)", 0.0),
}
FEWEST_PIXELS = 64 * 64


def exponent(points: list[tuple[int, float]]) -> float:
    """Exponent of the power law through the points, by least squares on logarithms.

    Args:
        points: pairs of ``HW`` and the quantity.

    Raises:
        ValueError: fewer than three points.
    """
    if len(points) < 3:
        raise ValueError(f"a fit needs three measured sizes, got {len(points)}")
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def line(method: str, rows: list[dict[str, str]]) -> dict[str, object]:
    """The CSV row of a method."""
    sizes = [(int(row["height"]) * int(row["width"]), row) for row in rows if row["method"] == method]
    measured = [(n, row) for n, row in sizes if n >= FEWEST_PIXELS and row["status"] == "measured"]
    computation, time_order, affinity, memory_order = ORDERS[method]
    return {
        "method": method,
        "sizes": len(measured),
        "up_to": f"{measured[-1][1]['height']}x{measured[-1][1]['width']}",
        "computation_paper": computation,
        "time_exponent_paper": time_order,
        "time_exponent": round(exponent([(n, float(row["ms"])) for n, row in measured]), 2),
        "affinity_memory_paper": affinity,
        "memory_exponent_paper": memory_order,
        "peak_memory_exponent": round(exponent([(n, float(row["extra_mib"])) for n, row in measured]), 2),
        **{key: measured[0][1][key] for key in ("device", "threads", "torch", "commit")},
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()  # it has no options
    rows = read_csv(RESULTS / "resolution.csv")
    lines = [line(method, rows) for method in ORDERS]
    for entry in lines:
        print("{:14}{:>3} sizes to {:8}{:22}{:>5}{:>7}   {:18}{:>5}{:>7}".format(*list(entry.values())[:9]))
    write_csv(lines, RESULTS / "table1.csv")


if __name__ == "__main__":
    main()
