"""A queue of trainings that fills one device, resumes, and stops cleanly at a time limit.

    python bench/train_many.py QUEUE.yaml --data.root PATH --out FOLDER [--jobs 2] [--limit 540] [--device cuda]

A queue has ``base``, the keys of a recipe; ``axes``, for each axis the values by name, each some more keys; and
``seeds``, a number, or numbers by the value of one axis. Every combination with every seed is a run (see
``bench/queues/``). ``--jobs`` run at the same time, each in its own process: one for each core of a CPU, several on one
GPU. A finished run adds a row to ``FOLDER/runs.csv``: its axes, seed, the figure after its last step, the best figure
of its evaluations, seconds, and the machine. Runs with a row are skipped, and others resume from their checkpoints, so
that the same command goes on after a stop. ``--limit`` seconds after the start, no run is started and those that run
write a checkpoint and end. ``--table`` prints mean and standard deviation over the seeds, and the 95 % interval of
the difference to the first value of an axis (Welch's).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from paired import ROOT, machine, read_csv, write_csv

_POLL = 0.5  # seconds
_GRACE = 60  # seconds for a checkpoint after the limit


class Run(NamedTuple):
    """One training of a queue: the value of each axis, the seed, and the keys of its recipe."""

    axes: dict[str, str]
    seed: int
    recipe: dict[str, Any]

    @property
    def name(self) -> str:
        return "-".join([*(value.replace(" ", "_") for value in self.axes.values()), str(self.seed)])


def runs_of(queue: dict[str, Any]) -> list[Run]:
    """The runs of a queue, all values with the first seed before any with the second.

    Raises:
        ValueError: a key is missing or unknown.
    """
    unknown = set(queue) - {"base", "axes", "seeds"}
    if unknown or "base" not in queue or "axes" not in queue:
        raise ValueError(f"a queue has base, axes and seeds, got {', '.join(map(str, queue))}")
    axes, seeds = queue["axes"], queue.get("seeds", 1)
    found = []
    for names in itertools.product(*axes.values()):
        chosen = dict(zip(axes, names, strict=True))
        recipe = queue["base"]
        for axis, name in chosen.items():
            recipe = _merged(recipe, axes[axis][name] or {})
        count = seeds if isinstance(seeds, int) else next(seeds[name] for name in [*names, "other"] if name in seeds)
        found += [Run(chosen, seed, {**recipe, "seed": seed}) for seed in range(count)]
    return sorted(found, key=lambda run: run.seed)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(old[key], new[key]) for key in old if isinstance(old[key], dict) and key in new}
    return {**old, **new, **both}


class Queue:
    """Runs the trainings of a queue.

    Args:
        runs: in order.
        root: folder of the dataset.
        out: folder of the runs.
        device: recorded in the rows, "cpu" or "cuda".
        options: more arguments of `srzoo train`.
    """

    def __init__(self, runs: list[Run], root: str, out: Path, device: str, options: list[str]):
        self.runs, self.root, self.out, self.device, self.options = runs, root, out, device, options
        self.csv = out / "runs.csv"

    def missing(self) -> Iterator[Run]:
        done = {row["run"] for row in read_csv(self.csv)}
        return (run for run in self.runs if run.name not in done)

    def rows(self) -> list[dict[str, str]]:
        """The rows of the finished runs, in the order of the queue: they are written as the runs end."""
        rows = {row["run"]: row for row in read_csv(self.csv)}
        return [rows[run.name] for run in self.runs if run.name in rows]

    def work(self, jobs: int, limit: float) -> int:
        """Run them, ``jobs`` at a time, for at most ``limit`` seconds. Returns how many failed."""
        end, waiting, running, failed = time.monotonic() + limit, list(self.missing()), {}, 0
        print(f"{len(self.runs)} runs, {len(self.runs) - len(waiting)} finished before", flush=True)
        while (waiting or running) and time.monotonic() < end:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                running[run.name] = run, self._start(run, jobs), time.monotonic()
            time.sleep(_POLL)
            for name, (run, process, began) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    failed += not self._finish(run, process.returncode, time.monotonic() - began, jobs)
        for _, process, _ in running.values():
            process.send_signal(signal.SIGTERM)  # they write a checkpoint
        for name, (_, process, _) in running.items():
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            print(f"{name}: stopped at the limit; the same command resumes it", flush=True)
        return failed

    def _start(self, run: Run, jobs: int) -> subprocess.Popen:
        folder = self.out / run.name
        folder.mkdir(parents=True, exist_ok=True)
        recipe = self.out / f"{run.name}.yaml"
        recipe.write_text(yaml.safe_dump(run.recipe))
        command = [sys.executable, "-m", "srzoo", "train", "--recipe", str(recipe), "--data.root", self.root]
        command += ["--out", str(folder), *self.options]
        threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
        paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": paths}
        with (self.out / f"{run.name}.txt").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def _finish(self, run: Run, code: int, elapsed: float, jobs: int) -> bool:
        if code:
            print(f"{run.name}: failed ({code}), see {self.out / run.name}.txt", flush=True)
            return False
        headline, last, best, seconds = figures(self.out / run.name / "log.csv")
        row = {
            "run": run.name,
            **run.axes,
            "seed": run.seed,
            "headline": headline,
            "last": last,
            "best": best,
            "training_seconds": round(seconds or elapsed),
            "jobs": jobs,
            **machine(self.device, max(1, len(os.sched_getaffinity(0)) // jobs), 1),
        }
        write_csv([*read_csv(self.csv), row], self.csv)
        print(f"{run.name}: {headline} {last:.4f} (best {best:.4f})", flush=True)
        return True


def figures(log: Path) -> tuple[str, float, float, float]:
    """The headline figure's name, its value after the last step and the best one, and the seconds of a run's log."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    headline = list(rows[0])[3]  # after step, epoch and loss
    values = [float(row[headline]) for row in rows if row[headline]]
    return headline, values[-1], max(values), sum(float(row["seconds"]) for row in rows)


def table(rows: list[dict[str, str]], axis: str) -> list[str]:
    """A line for each value of an axis, within each combination of the others."""
    others = [name for name in rows[0] if name not in (axis, "run", "seed")]
    others = others[: others.index("headline")]
    groups: dict[tuple, dict[str, list[float]]] = {}
    for row in rows:
        group = groups.setdefault(tuple(row[name] for name in others), {})
        group.setdefault(row[axis], []).append(100 * float(row["last"]))
    lines = []
    for key, values in groups.items():
        baseline = next(iter(values))
        for name, found in values.items():
            text = f"{' '.join([*key, name])}: {statistics.mean(found):.2f} over {len(found)} seeds"
            if len(found) > 1:
                text += f", standard deviation {statistics.stdev(found):.2f}"
            if name != baseline and min(len(found), len(values[baseline])) > 1:
                low, high = welch(found, values[baseline])
                text += f"; {baseline} {low:+.2f} to {high:+.2f} (95 %)"
            lines.append(text)
    return lines


def welch(a: list[float], b: list[float]) -> tuple[float, float]:
    """The 95 % interval of the difference of the means of two samples of unequal variance."""
    from scipy.stats import t

    parts = [statistics.variance(each) / len(each) for each in (a, b)]
    total, difference = sum(parts), statistics.mean(a) - statistics.mean(b)
    if not total:
        return difference, difference
    degrees = total**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (a, b), strict=True))
    half = t.ppf(0.975, degrees) * math.sqrt(total)
    return difference - half, difference + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", type=Path, help="a YAML file")
    parser.add_argument("--data.root", dest="root", help="folder of the dataset")
    parser.add_argument("--out", type=Path, default=Path("runs/many"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds (default: none)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--table", metavar="AXIS", help="print the finished runs by the values of an axis")
    options, rest = parser.parse_known_args()
    runs = runs_of(yaml.safe_load(options.queue.read_text()))
    queue = Queue(runs, options.root, options.out, options.device, rest)
    failed = queue.work(options.jobs, options.limit) if options.root else 0
    if options.table and (rows := queue.rows()):
        print(*table(rows, options.table), sep="\n")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
