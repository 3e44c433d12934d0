"""A queue of trainings that fills one device, resumes, and stops cleanly at a time limit.

    python bench/train_many.py QUEUE.yaml --data.root PATH --out FOLDER [--jobs 2] [--limit 540] [--device cuda]
    python bench/train_many.py QUEUE.yaml --out FOLDER --table [AXIS] [--plot FILE.png]

A queue has ``base``, the keys of a recipe; ``axes``, for each axis the values by name, each some more keys; and
``seeds``, how many, as a number, or numbers by the value of an axis, with "other" for the rest. Every combination with
every seed is a run (see ``bench/queues/``).

``--jobs`` run at the same time, each in its own process: one for each core of a CPU, several on one GPU. A finished run
adds a row to ``FOLDER/runs.csv``: its axes, seed, the figure after its last step, the best figure of its evaluations,
seconds, and the machine. Runs with a row are skipped, and others resume from their checkpoints, so that the same
command goes on after a stop, a kill or a failure. ``--limit`` seconds after the start, or at Ctrl-C or SIGTERM, no run
is started and those that run write a checkpoint and end.

``--table`` prints mean and standard deviation over the seeds, and the difference to the first value of an axis with its
95 % interval (Welch's); ``--plot`` draws it. Runs on a CPU and on a GPU are not averaged with each other.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from paired import ROOT, machine, read_csv, told, write_csv
from seeds import draw, lines

from srzoo.files import LockedError, locked, replacing
from srzoo.messages import nearest, one_line, shortened, visible
from srzoo.recipes.recipe import load_recipe
from srzoo.train.api import default_workers
from srzoo.train.failures import CHECKPOINT
from srzoo.zoo.remote import is_remote
from srzoo.zoo.weights import is_model_file

_POLL = 0.5  # seconds
_GRACE = 60  # seconds for a checkpoint after the limit
_JOBS_ON_A_GPU = 4
_STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM)  # before `srzoo train` notes the signal, and after
_TRAIN = [sys.executable, "-m", "srzoo", "train"]


class Run(NamedTuple):
    """One training of a queue: the value of each axis, the seed, and the keys of its recipe."""

    axes: dict[str, str]
    seed: int
    recipe: dict[str, Any]

    @property
    def name(self) -> str:
        return "-".join([*(value.replace(" ", "_") for value in self.axes.values()), str(self.seed)])


class Plan(NamedTuple):
    """A queue: the values of each axis, and its runs in order."""

    axes: dict[str, list[str]]
    runs: list[Run]


def read_queue(path: Path) -> Plan:
    """Read a queue's file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no queue.
    """
    try:
        queue = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML ({one_line(error)})") from error
    try:
        return plan(queue)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def plan(queue: Any) -> Plan:
    """The runs of a queue, all values with the first seed before any with the second.

    Raises:
        ValueError: a key is missing or unknown, or a value is of another type.
    """
    if not isinstance(queue, dict) or not {"base", "axes"} <= set(queue) <= {"base", "axes", "seeds"}:
        found = ", ".join(map(str, queue)) if isinstance(queue, dict) else shortened(queue)
        raise ValueError(f"a queue has base, axes and maybe seeds, got {found}")
    axes, seeds = queue["axes"], queue.get("seeds", 1)
    if not isinstance(axes, dict) or not axes or not all(isinstance(each, dict) and each for each in axes.values()):
        raise ValueError(f"axes must have for each axis the keys of a recipe by name, got {shortened(axes)}")
    axes = {str(axis): {str(name): keys or {} for name, keys in values.items()} for axis, values in axes.items()}
    if taken := set(axes).intersection(_columns(Run({}, 0, {}), _facts("cpu", 1, 1))):
        raise ValueError(f"an axis cannot be called {min(taken)!r}, which is a column of the results")
    for keys in (queue["base"], *(keys for values in axes.values() for keys in values.values())):
        if not isinstance(keys, dict):
            raise ValueError(f"base and each value of an axis must be keys of a recipe, got {shortened(keys)}")
        if "seed" in keys:
            raise ValueError(
                f"seed={shortened(keys['seed'])} is set by the queue's seeds, which count from 0; leave it out"
            )
    _check_seeds(seeds, {"other", *(name for values in axes.values() for name in values)})
    base, runs = _nested(queue["base"]), []
    for names in itertools.product(*axes.values()):
        chosen = dict(zip(axes, names, strict=True))
        recipe = base
        for axis, name in chosen.items():
            recipe = _merged(recipe, _nested(axes[axis][name]))
        runs += [Run(chosen, seed, {**recipe, "seed": seed}) for seed in range(_count(seeds, names))]
    _check_names([run.name for run in runs])
    return Plan({axis: list(values) for axis, values in axes.items()}, sorted(runs, key=lambda run: run.seed))


def _check_seeds(seeds: Any, names: set[str]) -> None:
    """A name that no value has would leave its runs to "other", with another number of seeds."""
    unknown = [name for name in seeds if str(name) not in names] if isinstance(seeds, dict) else []
    if unknown:
        meant = nearest(str(unknown[0]), names) or "; 'other' stands for all remaining values"
        raise ValueError(f"seeds has {shortened(unknown[0])}, which is no value of an axis{meant}")


def _count(seeds: Any, names: Sequence[str]) -> int:
    """How many seeds a combination has."""
    if isinstance(seeds, dict):
        seeds = {str(name): count for name, count in seeds.items()}
        found = next((seeds[name] for name in (*names, "other") if name in seeds), None)
        if found is None:
            raise ValueError(f"seeds has no number for {' '.join(names)}; add one of these names, or other")
        seeds = found
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds must be 1 or more, or such numbers by name, got {shortened(seeds)}")
    return seeds


def _check_names(names: list[str]) -> None:
    """Each run has a folder of its own name."""
    for name in names:
        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise ValueError(f"names of values must be letters, digits and .+-_ for the runs' folders, got {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"two runs are called {next(name for name in names if names.count(name) > 1)!r}")


def _nested(keys: dict[str, Any]) -> dict[str, Any]:
    """``{"semantic.crop": 96}`` as ``{"semantic": {"crop": 96}}``, so that either replaces the other."""
    found: dict[str, Any] = {}
    for name, value in keys.items():
        block, dot, rest = str(name).partition(".")
        found = _merged(found, {block: _nested({rest: value})} if dot else {name: value})
    return found


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], new[key]) for key in old if isinstance(old[key], dict) and isinstance(new.get(key), dict)
    }
    return {**old, **new, **both}


class Queue:
    """Runs the trainings of a queue.

    Args:
        runs: in order.
        out: folder of the runs.

    Attributes:
        csv: the rows of the finished runs.
        stopped: number of the signal that ended `work`; None without one.
    """

    def __init__(self, runs: list[Run], out: Path):
        self.runs, self.out, self.csv = runs, out, out / "runs.csv"
        self.stopped: int | None = None

    def missing(self) -> list[Run]:
        done = {row["run"] for row in read_csv(self.csv)}
        return [run for run in self.runs if run.name not in done]

    def rows(self) -> list[dict[str, str]]:
        """The rows of the finished runs, in the order of the queue: they are written as the runs end."""
        rows = {row["run"]: row for row in read_csv(self.csv)}
        return [rows[run.name] for run in self.runs if run.name in rows]

    def work(self, root: str, jobs: int, limit: float, device: str, options: Sequence[str] = ()) -> int:
        """Run them.

        Args:
            root: folder of the dataset.
            jobs: how many at a time.
            limit: seconds after which those that run are stopped.
            device: "cpu" or "cuda".
            options: more arguments of `srzoo train`.

        Returns:
            How many failed.

        Raises:
            ValueError: a recipe is invalid, the folder has results of another queue, or another process works in it.
            OSError: a file cannot be written.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.out / ".queue-lock", wait=False):
                return self._work(root, jobs, limit, device, options)
        except LockedError as error:
            raise ValueError(f"another queue runs in {self.out}; wait for it, or choose another --out") from error

    def _work(self, root: str, jobs: int, limit: float, device: str, options: Sequence[str]) -> int:
        end, waiting, running, failed = time.monotonic() + limit, self.missing(), {}, 0
        threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        facts = _facts(device, threads, jobs)
        if not Path(root).is_dir():
            raise ValueError(f"no folder {root}")
        self._check_results(facts)
        self._write_recipes(waiting)
        print(f"{len(self.runs)} runs, {len(self.runs) - len(waiting)} finished before", flush=True)
        with self._signals():
            try:
                while (waiting or running) and time.monotonic() < end and self.stopped is None:
                    while waiting and len(running) < jobs:
                        run = waiting.pop(0)
                        running[run.name] = run, self._start(run, root, device, threads, options)
                    time.sleep(_POLL)
                    for name, (run, process) in list(running.items()):
                        if process.poll() is not None:
                            del running[name]
                            failed += not self._finish(run, process.returncode, facts)
            finally:
                failed += self._stop(running, facts)
        return failed

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Context manager that notes the signals that end the queue. Those that are ignored, as by ``nohup``, stay so.

        The trainings inherit what is ignored, and so go on as well.
        """
        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, self._note)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        self.stopped = number

    def _check_results(self, facts: dict[str, object]) -> None:
        """Raises ValueError if the folder has rows of other columns, or runs of these names by other recipes."""
        rows, columns = read_csv(self.csv), _columns(self.runs[0], facts)
        if rows and list(rows[0]) != columns:
            other = sorted(set(rows[0]) ^ set(columns)) or ["their order"]
            raise ValueError(f"{self.csv} has rows of another queue (it differs in {other[0]}); choose another --out")
        done = {row["run"] for row in rows}
        for run in self.runs:
            file, began = self._recipe(run), run.name in done or (self.out / run.name / CHECKPOINT).exists()
            if began and file.exists() and (difference := _difference(_former(file), run.recipe)):
                raise ValueError(
                    f"{self.out / run.name} was trained with {difference}; choose another --out, or remove that "
                    "folder and its row"
                )

    def _recipe(self, run: Run) -> Path:
        return self.out / f"{run.name}.yaml"

    def _write_recipes(self, runs: Sequence[Run]) -> None:
        """Write the recipes of the runs, and check all of them before the first one trains for an hour."""
        for run in runs:
            file = self._recipe(run)
            with replacing(file) as partial:
                partial.write_text(yaml.safe_dump(run.recipe, sort_keys=False), encoding="utf-8")
            recipe = load_recipe(file)
            for key, source in (("start", recipe.start), ("teacher", getattr(recipe.options, "teacher", None))):
                if is_model_file(source) and not is_remote(source) and not Path(source).is_file():
                    raise ValueError(f"{file}: there is no file {source}, its {key}; train that one first")

    def _start(self, run: Run, root: str, device: str, threads: int, options: Sequence[str]) -> subprocess.Popen:
        folder = self.out / run.name
        folder.mkdir(parents=True, exist_ok=True)
        command = [*_TRAIN, "--recipe", str(self._recipe(run)), "--data.root", root, "--out", str(folder), *options]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
        if device == "cpu":  # training takes a GPU that it sees
            environment["CUDA_VISIBLE_DEVICES"] = ""
        with self._log(run).open("a") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which asks them to end once
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def _log(self, run: Run) -> Path:
        return self.out / f"{run.name}.txt"

    def _finish(self, run: Run, code: int, facts: dict[str, object]) -> bool:
        """Add the row of a run that has ended. Returns False if it failed."""
        try:
            if code:
                raise ValueError(_ended(code, self._log(run)))
            found = figures(self.out / run.name / "log.csv")
        except (ValueError, OSError) as error:
            print(f"{run.name}: failed: {one_line(error)} (see {self._log(run)})", flush=True)
            return False
        write_csv([*read_csv(self.csv), _row(run, found, facts)], self.csv)
        headline, last, best, _ = found
        print(f"{run.name}: {headline} {last:.4f} (best {best:.4f})", flush=True)
        return True

    def _stop(self, running: dict[str, tuple[Run, subprocess.Popen]], facts: dict[str, object]) -> int:
        """Ask those that still run to write a checkpoint and end. Returns how many failed at it."""
        for _, process in running.values():
            process.send_signal(signal.SIGTERM)
        end, killed, failed = time.monotonic() + _GRACE, set(), 0
        for name, (_, process) in running.items():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed.add(name)
        for name, (run, process) in running.items():  # only now, as a full disk raises an error here
            if name in killed:
                print(f"{name}: killed, as it did not stop in {_GRACE:g} s; the same command resumes it", flush=True)
            elif process.returncode in _STOPPED:
                print(f"{name}: stopped; the same command resumes it", flush=True)
            else:  # it has ended by itself meanwhile
                failed += not self._finish(run, process.returncode, facts)
        return failed


def _facts(device: str, threads: int, jobs: int) -> dict[str, object]:
    """The columns of a row that are not of the run itself."""
    return {"jobs": jobs, **machine(device, threads, 1)}


def _row(run: Run, found: tuple[str, float, float, float], facts: dict[str, object]) -> dict[str, object]:
    headline, last, best, seconds = found
    own = {"headline": headline, "last": last, "best": best, "training_seconds": round(seconds)}
    return {"run": run.name, **run.axes, "seed": run.seed, **own, **facts}


def _columns(run: Run, facts: dict[str, object]) -> list[str]:
    return list(_row(run, ("", 0.0, 0.0, 0.0), facts))


def _former(file: Path) -> object:
    """The recipe that a run had; None if its file holds no YAML."""
    try:
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return _nested(recipe) if isinstance(recipe, dict) else recipe


def _difference(former: object, recipe: dict[str, Any]) -> str:
    """How a former recipe differs from one; empty if it does not."""
    if not isinstance(former, dict):
        return "a recipe that its file no longer holds"
    for key in [*former, *recipe]:
        if (key in former) != (key in recipe) or former.get(key) != recipe.get(key):
            old, new = (f"{key}={shortened(each[key])}" if key in each else f"no {key}" for each in (former, recipe))
            return f"{old}, and the queue has {new}"
    return ""


def _end_with_parent() -> None:
    """Linux sends SIGTERM when the process of the queue ends, however it ends; the next start could not resume else."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _ended(code: int, log: Path) -> str:
    """Why a run failed: the signal that killed it, or what it said last."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        found = [line.strip() for line in file.read().decode(errors="replace").replace("\r", "\n").splitlines()]
    return visible(next((line for line in reversed(found) if line), f"exit status {code}"))


def figures(log: Path) -> tuple[str, float, float, float]:
    """The headline figure's name, its value after the last step and the best one, and the seconds of a run's log.

    Raises:
        ValueError: the log has no figure.
    """
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    headline = list(rows[0])[3] if rows else ""  # after step, epoch and loss
    values = [float(row[headline]) for row in rows if row[headline]]
    if not values or math.isnan(values[-1]):
        raise ValueError(f"{log} has no figure of the last step")
    best = max(value for value in values if not math.isnan(value))
    return headline, values[-1], best, sum(float(row["seconds"]) for row in rows)


def _device(given: str | None) -> str:
    """The device that the trainings run on, by default a GPU where there is one."""
    if given == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda, but PyTorch finds no GPU here; leave it out to train on the CPU")
    return given or ("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", type=Path, help="a YAML file")
    parser.add_argument("--data.root", dest="root", help="folder of the dataset")
    parser.add_argument("--out", type=Path, default=Path("runs/many"), help="folder of the runs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help="runs at the same time (default: one for each core, 4 on a GPU)")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds (default: none)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument(
        "--workers", type=int, help="processes of each run that load images (default: its share of the cores)"
    )
    parser.add_argument(
        "--table", nargs="?", const="", metavar="AXIS", help="print the finished runs by an axis (default: the last)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw what --table prints")
    options = parser.parse_args()
    if not options.root and options.table is None:
        parser.error("give --data.root PATH to train, or --table to read what has been trained")
    axes, runs = read_queue(options.queue)
    axis = options.table or list(axes)[-1]
    if axis not in axes:
        parser.error(f"--table {axis}: the axes of {options.queue} are {', '.join(axes)}")
    if options.plot and options.table is None:
        parser.error("--plot needs --table")
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {options.jobs}")
    if not options.limit > 0:
        parser.error(f"--limit must be above 0 seconds, got {options.limit:g}")
    queue, failed = Queue(runs, options.out), 0
    if options.root:
        device, cores = _device(options.device), len(os.sched_getaffinity(0))
        jobs = options.jobs or (cores if device == "cpu" else _JOBS_ON_A_GPU)
        # Several runs on one GPU share the cores; each would else take up to eight processes more.
        workers = max(1, min(default_workers(), cores // jobs)) if options.workers is None else options.workers
        more = ["--workers", str(workers)]
        failed = queue.work(options.root, jobs, options.limit, device, more)
    if options.table is not None:
        rows = queue.rows()
        found = lines(rows, axes, axis) or [f"no run of {options.queue} is finished in {options.out}"]
        print(*found, sep="\n")
        if options.plot and rows:
            draw(rows, axes, axis, options.plot)
    raise SystemExit(128 + queue.stopped if queue.stopped else min(failed, 1))


if __name__ == "__main__":
    told(main)
