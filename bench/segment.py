"""What `srzoo segment` costs a user: start-up, one cold frame, its memory, and frames a second over a folder.

    python bench/segment.py [--repeats 5] [--frames 60]

Writes ``bench/results/segment.csv``. Every cold run is a process of its own; the import of torch alone is timed
beside it in turn, so that both see the same machine. Quote the medians.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
THREADS = "2"


def timed(arguments: list[str], folder: str) -> tuple[float, float]:
    """Wall seconds and peak MiB of a Python process."""
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
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
            timed(arguments, folder)  # byte code and page cache
        runs = {name: [] for name in commands}
        for _ in range(options.repeats):
            for name, arguments in commands.items():
                runs[name].append(timed(arguments, folder))
    write(runs, options.frames)


def write(runs: dict[str, list[tuple[float, float]]], frames: int) -> None:
    """Print the medians and write them with the machine they were measured on."""
    median = {name: statistics.median(seconds for seconds, _ in values) for name, values in runs.items()}
    memory = {name: statistics.median(mebibytes for _, mebibytes in values) for name, values in runs.items()}
    cold, folder_run = list(runs)[-2:]
    rows = [(name, "s", round(median[name], 3)) for name in runs]
    rows += [(f"{name}, peak memory", "MiB", round(memory[name])) for name in (cold, folder_run)]
    over = statistics.median(a[0] - b[0] for a, b in zip(runs[cold], runs["import torch"]))
    rows.append((f"{cold}, over import torch", "s", round(over, 3)))
    warm = statistics.median((b[0] - a[0]) / (frames - 1) for a, b in zip(runs[cold], runs[folder_run]))
    rows.append(("frames a second, decoding and writing counted", "1/s", round(1 / warm, 2)))
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = {
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": THREADS,
        "python": platform.python_version(),
        "torch": version("torch"),
        "timm": version("timm"),
        "commit": commit,
        "repeats": len(runs[cold]),
    }
    path = ROOT / "bench" / "results" / "segment.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "unit", "median", *machine])
        for row in rows:
            writer.writerow([*row, *machine.values()])
            print(f"{row[0]:60} {row[2]:>9} {row[1]}")


if __name__ == "__main__":
    main()
