"""Table 1 of the paper, measured: how time and peak memory grow with resolution, beside the orders it prints.

    python bench/table1.py

Fits ``quantity = a (HW)^exponent`` to what ``bench/resolution.py`` measured from 64x64 up, and writes
``bench/results/table1.csv``. The paper's orders are those of the affinity alone; a measurement has the 1x1 convolutions
and the maps themselves too, which are linear. A direct form stores the affinity, the other of the same name does not.
"""

from __future__ import annotations

import numpy as np
from paired import RESULTS, read_csv, write_csv

# Method, its computation and affinity memory as printed, and their exponents in HW on a square map.
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
    """Of the power law through the points, by least squares on logarithms.

    Raises:
        ValueError: fewer than three points.
    """
    if len(points) < 3:
        raise ValueError(f"a fit needs three measured sizes, got {len(points)}")
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def line(method: str, rows: list[dict[str, str]]) -> dict[str, object]:
    """Its line of the CSV."""
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
    rows = read_csv(RESULTS / "resolution.csv")
    lines = [line(method, rows) for method in ORDERS]
    for entry in lines:
        print("{:14}{:>3} sizes to {:8}{:22}{:>5}{:>7}   {:18}{:>5}{:>7}".format(*list(entry.values())[:9]))
    write_csv(lines, RESULTS / "table1.csv")


if __name__ == "__main__":
    main()
