"""Time and peak memory against resolution, for the forms of the block and for the other context modules.

    python bench/resolution.py ["NL" "NL direct" ...] [--repeats 5] [--threads 2] [--longest 10] [--memory 4]

Writes ``bench/results/resolution.csv``, which ``bench/fig4a.py`` draws and ``bench/table1.py`` fits. It measures
inference in float32 on a CPU, with one image and 512 channels in and out. With methods as arguments, only their rows
are replaced. Each measurement runs in its own process, with ``--memory`` GiB of address space beyond the module and its
input; a run that needs more is out of memory. Runs that would take more than ``--longest`` seconds are skipped; this is
estimated from the multiply-adds and the speed at the size before. The column ``status`` says what happened.

*Direct* is the form that stores every intermediate, as in its source. *Compiled* is the direct form under
``torch.compile``. *Folded* is the block folded into the 3x3 convolution that follows; the time and memory of that
convolution are subtracted. Every form is compared with the direct one before it is timed. Extra memory is the peak
above module and input, with the output. Denormals are flushed to zero, as on a GPU. With these random weights the
softmaxes of "NL direct" and of both forms of DANet have many of them, and at 48x48 they would take half of the time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import torch
from counting import multiply_adds
from paired import (
    RESULTS,
    ROOT,
    extra_memory,
    machine,
    measuring,
    paired_times,
    read_csv,
    resident,
    seconds,
    write_csv,
)
from sr_block import check
from torch import nn

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.layers import build_context
from srzoo.models.folded_block import FoldedBlock

CSV = RESULTS / "resolution.csv"
CHANNELS = 512
SIZES = ((48, 48), (64, 64), (96, 96), (128, 128), (128, 256), (192, 192), (256, 256), (256, 512))
METHODS = {  # context module and form
    "SR direct": ("sr", "direct"),
    "SR direct, compiled": ("sr", "compiled"),
    "SR": ("sr", "forward"),
    "SR folded": ("sr", "folded"),
    "SR released, direct": ("sr_released", "direct"),
    "SR released": ("sr_released", "forward"),
    "NL direct": ("nl", "direct"),
    "NL": ("nl", "forward"),
    "A2Net": ("a2", "forward"),
    "CGNL": ("cgnl", "forward"),
    "RCCA": ("rcca", "forward"),
    "DANet direct": ("da", "direct"),
    "DANet": ("da", "forward"),
    "EMAU": ("ema", "forward"),
    "SE": ("se", "forward"),
    "ASPP": ("aspp", "forward"),
    "PSP": ("psp", "forward"),
}


def sides(method: str) -> tuple[Callable, Callable | None, Callable]:
    """The form to measure, the module whose cost is subtracted from it or None, and the form to compare it with."""
    context, form = METHODS[method]
    torch.manual_seed(0)
    module = build_context(context, CHANNELS).eval()
    for parameter in module.parameters():
        if not parameter.is_meta and not parameter.any():  # with a zero projection all forms would be equal
            nn.init.normal_(parameter, std=0.05)
    direct = getattr(module, "forward_direct", module)
    if form == "folded":
        conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        return FoldedBlock(module, conv), conv, lambda x: conv(direct(x))
    compiled = torch.compile(direct, dynamic=False)
    return {"forward": module, "direct": direct, "compiled": compiled}[form], None, direct


def products(method: str, size: tuple[int, int]) -> float:
    """Multiply-adds of a method in 10^9."""
    with torch.device("meta"):
        form, beside, direct = sides(method)
    form = direct if METHODS[method][1] == "compiled" else form
    shape = (1, CHANNELS, *size)
    return multiply_adds(form, shape) - (multiply_adds(beside, shape) if beside else 0.0)


def measure(method: str, size: tuple[int, int], options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds and peak MiB in this process, whose address space is limited from now on.

    Raises:
        MemoryError, RuntimeError: the limit was reached.
    """
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    form, beside, reference = sides(method)
    with torch.inference_mode():
        x = torch.randn(1, CHANNELS, 49, 48)
        check(form, reference(x), x)
        x = torch.randn(1, CHANNELS, *size)
        limit = resident("VmSize") * 1024 + int(options.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        runs = {"form": lambda: form(x)} | ({"beside": lambda: beside(x)} if beside else {})
        first = {name: seconds(run, "cpu") for name, run in runs.items()}
        peaks = {name: extra_memory(run, "cpu") for name, run in runs.items()}
        times = paired_times(runs, options.repeats if first["form"] < 2 else 3, "cpu")
    alone = times.get("beside", [0.0] * len(times["form"]))
    taken = [a - b for a, b in zip(times["form"], alone, strict=True)]
    return {"ms": 1e3 * statistics.median(taken), "extra_mib": peaks["form"] - peaks.get("beside", 0.0)}


def _send_measured(sender: Connection, *arguments) -> None:
    """Send the result of `measure`, or an empty dict if it ran out of memory."""
    try:
        sender.send(measure(*arguments))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        sender.send({})


def measure_apart(*arguments) -> dict[str, float]:
    """Run `measure` in a new process. The result is empty if it ran out of memory.

    Raises:
        RuntimeError: the process failed for another reason.
    """
    context = multiprocessing.get_context("fork")  # torch is imported but has not started threads yet
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_measured, args=(sender, *arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f"the process that measured {arguments[:2]} failed") from None
    finally:
        process.join()


def rows_of(method: str, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield a row per size, from small to large. After a size that is out of memory, no larger one is tried."""
    pace, reason = 0.0, ""
    for size in SIZES:
        count = products(method, size)
        if not reason and pace * count > options.longest:
            status = f"skipped: about {pace * count:.0f} s a run"
        else:
            status = reason or "measured"
        result = measure_apart(method, size, options) if status == "measured" else {}
        if result:
            pace = result["ms"] / 1e3 / count
        elif status == "measured":
            status, reason = "out of memory", f"not tried: out of memory at {size[0]}x{size[1]}"
        yield {
            "method": method,
            "height": size[0],
            "width": size[1],
            "multiply_adds_g": round(count, 4),
            "ms": round(result["ms"], 2) if result else "",
            "extra_mib": round(result["extra_mib"], 1) if result else "",
            "status": status,
            "memory_limit_gib": options.memory,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(5, device=None)])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--longest", type=float, default=10.0)
    parser.add_argument("--memory", type=float, default=4.0)
    options = parser.parse_args()
    if unknown := set(options.methods) - set(METHODS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; choose from {', '.join(METHODS)}")
    for method in options.methods or METHODS:
        rows = [row for row in read_csv(CSV) if row["method"] != method]
        for row in rows_of(method, options):
            rows.append(row | machine("cpu", options.threads, options.repeats))
            print(*(f"{value!s:>10}" for value in list(row.values())[:-1]), flush=True)
        write_csv(sorted(rows, key=lambda row: list(METHODS).index(row["method"])), CSV)


if __name__ == "__main__":
    main()
