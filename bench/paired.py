"""Paired measurements: all sides run in turn in one process, so that a drift of the machine affects them alike."""

from __future__ import annotations

import argparse
import csv
import ctypes
import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.files import replacing
from srzoo.messages import one_line
from srzoo.zoo.checkout import commit

RESULTS = ROOT / "bench" / "results"


def told(main: Callable[[], object]) -> None:
    """Run a script; invalid input or a missing package ends it with one line."""
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("SRZOO_TRACEBACK") == "1":
            raise
        sys.exit(f"{Path(sys.argv[0]).name}: {one_line(error)}")


def count_argument(text: str) -> int:
    """A command's whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def device_argument(text: str) -> str:
    """A command's "cpu", or "cuda" where there is a GPU, for argparse. Times are of PyTorch's current GPU alone."""
    if text not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(
            f"expected cpu or cuda, got {text!r}; choose one of several GPUs with CUDA_VISIBLE_DEVICES"
        )
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("PyTorch finds no GPU here; take --device cpu")
    return text


def measuring(repeats: int, threads: int | None = 2, device: str | None = "cpu") -> argparse.ArgumentParser:
    """The arguments of a measurement with these defaults, None for one that a script lacks; a parent of its parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--repeats", type=count_argument, default=repeats)
    if threads is not None:
        parser.add_argument("--threads", type=count_argument, default=threads)
    if device is not None:
        parser.add_argument("--device", type=device_argument, default=device)
    return parser


def shape_argument(text: str) -> tuple[int, ...]:
    """A command's ``NxCxHxW``, for argparse."""
    sides = text.split("x")
    if len(sides) != 4 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"expected NxCxHxW such as 1x512x128x256, got {text!r}")
    return tuple(map(int, sides))


def machine(device: str, threads: int, repeats: int) -> dict[str, object]:
    """The columns that end every row: the machine, the versions and the commit of a measurement."""
    return {
        "device": _processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": version("torch"),
        "timm": version("timm"),
        "commit": _commit(),
        "repeats": repeats,
    }


@cache
def _commit() -> str | None:
    """The commit. Every run changes the results; weights that ship have their hash in the code, or are not loaded."""
    return commit(ignoring=("bench/results", "srzoo/weights_data"))


@cache
def _processor() -> str:
    """Name of the CPU, number of cores, and its units for bfloat16, which often affect times more than the name."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in PyTorch before 2.10
    units = [unit for unit in ("avx512_bf16", "amx_bf16") if capabilities.get(unit)]
    return ", ".join([capabilities.get("cpu_name") or platform.machine(), f"{os.cpu_count()} cores", *units])


def results_file(name: str, device: str) -> Path:
    """The CSV for a device, e.g. ``sr_block.csv`` for a CPU and ``sr_block_gpu.csv`` for a GPU."""
    return RESULTS / (f"{name}.csv" if device == "cpu" else f"{name}_gpu.csv")


def seconds(run: Callable[[], object], device: str) -> float:
    """Wall time of one call in seconds; on a GPU the mean of ten calls in a row.

    The GPU is synchronized only after the last call, so the result is the longer of its work and of the launches.
    """
    calls = 1 if device == "cpu" else 10
    began = time.perf_counter()
    for _ in range(calls):
        run()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls


def replayed(run: Callable[[], object]) -> Callable[[], object]:
    """A function that replays ``run`` as a CUDA graph: the same work without Python and launches."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return lambda: (graph.replay(), run)[0]  # keeps the tensors that the graph reads


def in_turn(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """A function that runs the next of ``calls`` at every call, so that no cache serves one input over and over."""
    following = itertools.cycle(calls)
    return lambda: next(following)()


def timed(sides: dict[str, list[Callable[[], object]]], repeats: int, device: str, uncaptured: str = ""):
    """Yield the way that the sides were run and their `paired_times`: "called", and on a GPU also "replayed".

    Args:
        sides: the calls of each side, one for each input; they are taken in turn.
        repeats, device: as in `paired_times`.
        uncaptured: a side that waits for the device, so that no CUDA graph can be made of it.
    """
    yield "called", paired_times({side: in_turn(calls) for side, calls in sides.items()}, repeats, device)
    if device != "cpu":
        sides = {side: calls for side, calls in sides.items() if side != uncaptured}
        graphs = {side: in_turn([replayed(call) for call in calls]) for side, calls in sides.items()}
        yield "replayed", paired_times(graphs, repeats, device)


def paired_times(
    sides: dict[str, Callable[[], object]], repeats: int, device: str, before: int = 0
) -> dict[str, list[float]]:
    """Seconds of every call of each side. The sides run in turn, after one call each for compilation and warm-up.

    Args:
        sides: by name.
        repeats: calls of each side.
        device: of their tensors.
        before: calls before each one that is timed. Sides of several libraries need them: the threads of one wait
            busily for a while after a call, and so slow the next one down.
    """
    for run in sides.values():
        seconds(run, device)
    times = {side: [] for side in sides}
    for _ in range(repeats):
        for side, run in sides.items():
            for _ in range(before):
                run()
            times[side].append(seconds(run, device))
    return times


def median_ratio(times: list[float], baseline: list[float]) -> float:
    """Median of the ratios in each round."""
    return statistics.median(a / b for a, b in zip(times, baseline, strict=True))


def extra_memory(run: Callable[[], object], device: str) -> float:
    """Peak MiB of a call above the memory in use before it."""
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # returns freed pages of earlier sides to the system
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = resident("VmRSS")
    run()
    return (resident("VmHWM") - before) / 1024


def resident(field: str) -> int:
    """A field of ``/proc/self/status`` in KiB, such as VmRSS."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows that `write_csv` wrote; an empty list if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(rows: list[dict[str, object]], path: Path) -> None:
    """Write rows, which must all have the same keys, completely or not at all: the rows that a file had took hours."""
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def update_csv(rows: list[dict[str, object]], path: Path, case: Sequence[str]) -> None:
    """Write rows in the place of a file's rows of the same case, and keep the others.

    A column that older rows lack is empty in those that stay, and does not tell them from new ones.

    Args:
        case: the columns that say what a row is of.
    """
    new = [{column: str(row[column]) for column in case} for row in rows]

    def is_of(old: dict[str, str], found: dict[str, str]) -> bool:
        return all((old.get(column) or value) == value for column, value in found.items())

    kept = [old for old in read_csv(path) if not any(is_of(old, found) for found in new)]
    columns = dict.fromkeys(column for row in (*rows, *kept) for column in row)
    write_csv([{column: row.get(column, "") for column in columns} for row in (*kept, *rows)], path)
