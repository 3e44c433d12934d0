"""The cost of `srzoo segment`: start-up time, one frame with its memory, and frames per second over a folder.

    python bench/segment.py [--repeats 5] [--frames 60]

Writes ``bench/results/segment.csv`` with medians. Every run is a new process. The import of torch alone is timed in
turn with the other commands, so a drift of the machine affects all alike.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paired import RESULTS, ROOT, machine, measuring, write_csv

THREADS = "2"


def timed(arguments: list[str], folder: str) -> tuple[float, float]:
    """Wall time in seconds and peak memory in MiB of a Python process."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": THREADS},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{arguments} ended with status {status}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], parents=[measuring(5, threads=None, device=None)]
    )
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    frames = sorted((ROOT / "examples").glob("*.png"))
    segment = ["-m", "srzoo", "segment", "--device", "cpu", "--out", "out"]
    commands = {
        "srzoo --help": ["-m", "srzoo", "--help"],
        "srzoo list": ["-m", "srzoo", "list"],
        "import torch": ["-c", "import torch"],
        "srzoo segment, one 480x360 frame, cold": [*segment, str(frames[0])],
    }
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder, "frames")
        many.mkdir()
        for index in range(options.frames):
            shutil.copy(frames[index % len(frames)], many / f"{index:04}.png")
        commands[f"srzoo segment, {options.frames} frames of 480x360"] = [*segment, str(many)]
        for arguments in commands.values():
            timed(arguments, folder)  # fills the caches of byte code and files
        runs = {name: [] for name in commands}
        for _ in range(options.repeats):
            for name, arguments in commands.items():
                runs[name].append(timed(arguments, folder))
    write(runs, options.frames)


def write(runs: dict[str, list[tuple[float, float]]], frames: int) -> None:
    """Print the medians, and write them with the machine that they were measured on."""
    median = {name: statistics.median(seconds for seconds, _ in values) for name, values in runs.items()}
    memory = {name: statistics.median(mebibytes for _, mebibytes in values) for name, values in runs.items()}
    cold, folder_run = list(runs)[-2:]
    rows = [(name, "s", round(median[name], 3)) for name in runs]
    rows += [(f"{name}, peak memory", "MiB", round(memory[name])) for name in (cold, folder_run)]
    over = statistics.median(a[0] - b[0] for a, b in zip(runs[cold], runs["import torch"]))
    rows.append((f"{cold}, over import torch", "s", round(over, 3)))
    warm = statistics.median((b[0] - a[0]) / (frames - 1) for a, b in zip(runs[cold], runs[folder_run]))
    rows.append(("frames a second, decoding and writing counted", "1/s", round(1 / warm, 2)))
    where = machine("cpu", int(THREADS), len(runs[cold]))
    write_csv(
        [{"what": what, "unit": unit, "median": value} | where for what, unit, value in rows], RESULTS / "segment.csv"
    )
    for what, unit, value in rows:
        print(f"{what:60} {value:>9} {unit}")


if __name__ == "__main__":
    main()
