"""A training step of srnet_lite0 on CamVid's classes, beside the same model in plain eager float32; what gives what.

    python bench/train_step.py [--repeats 7] [--threads 2] [--size 320] [--batch 8]
    python bench/train_step.py --profile allocator [--threads 1]

*plain* is what a user would write: NCHW, float32, logits and auxiliary logits under ``interpolate`` and
``cross_entropy``, AdamW. Each side below it adds one thing that `srzoo train` does, up to *allocator*. The last three
stand on that one: *accumulate* takes the batch in two parts, as with ``--accumulate 2``; *bfloat16* is what `srzoo
train` does by itself where a CPU multiplies it faster, and elsewhere with ``--precision bf16``; *compiled* is
``--compile true``. Loading of data, Lovasz and the averaged weights are on no side. Every side is a process of its own,
as an allocator is set for a whole process; they take their steps in turn. Peak memory is that of the process above
model and batch, over all its steps. ``--profile`` prints where one side's step goes. Rows replace those of equal
threads in ``bench/results/train_step.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from paired import RESULTS, ROOT, machine, median_ratio, read_csv, resident, seconds, write_csv
from torch.nn import functional as F

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo import create_model
from srzoo.tasks.semantic.losses import SegmentationLoss
from srzoo.train.allocator import keep_freed_memory
from srzoo.train.depthwise import replace_depthwise

CSV = RESULTS / "train_step.csv"
IGNORE, AUX, LR, _WARM_UP = 255, 0.4, 1e-4, 2
_DEFAULTS = ("channels_last", "depthwise", "loss", "allocator")
SIDES = {  # what each has
    "plain": set(),
    **{name: set(_DEFAULTS[: place + 1]) for place, name in enumerate(_DEFAULTS)},
    "accumulate": {*_DEFAULTS, "accumulate"},
    "bfloat16": {*_DEFAULTS, "bfloat16"},
    "compiled": {*_DEFAULTS, "compiled"},
}


def plain_loss(logits: torch.Tensor, aux: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    losses = [
        F.cross_entropy(
            F.interpolate(part.float(), target.shape[-2:], mode="bilinear", align_corners=False),
            target,
            ignore_index=IGNORE,
        )
        for part in (logits, aux)
    ]
    return losses[0] + AUX * losses[1]


def stepper(side: str, batch: int, size: int) -> Callable[[], float]:
    """A call that takes one step of a side and returns its loss."""
    has = SIDES[side]
    torch.manual_seed(0)
    model = create_model("srnet_lite0_camvid").train()
    if "depthwise" in has:
        replace_depthwise(model)
    layout = torch.channels_last if "channels_last" in has else torch.contiguous_format
    model = model.to(memory_format=layout)
    loss_of = SegmentationLoss(aux=AUX) if "loss" in has else plain_loss
    called = torch.compile(model) if "compiled" in has else model
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, size, size, generator=generator).contiguous(memory_format=layout)
    target = torch.randint(model.num_classes, (batch, size // 16, size // 16), generator=generator)
    target = target.repeat_interleave(16, 1).repeat_interleave(16, 2)
    target[:, : size // 16] = IGNORE

    parts = 2 if "accumulate" in has else 1

    def step() -> float:
        total = 0.0
        for images, labels in zip(x.chunk(parts), target.chunk(parts), strict=True):
            with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in has):
                logits, aux = called(images, return_aux=True, upsample=False)
            losses = loss_of(logits, aux, labels)
            loss = (sum(losses.values()) if isinstance(losses, dict) else losses) / parts
            loss.backward()
            total += loss.item()
        optimizer.step()
        optimizer.zero_grad()
        return total

    return step


def serve(side: str, batch: int, size: int) -> None:
    """Take a step for each line on stdin; a line on stdout has its loss, its seconds, and the peak memory so far."""
    if "allocator" in SIDES[side] and not keep_freed_memory():
        raise SystemExit("this is no glibc, or the environment sets it")
    step = stepper(side, batch, size)
    before = resident("VmRSS")
    losses = []
    for _ in sys.stdin:
        took = seconds(lambda: losses.append(step()), "cpu")
        print(losses[-1], took, (resident("VmHWM") - before) / 1024, flush=True)


class Side:
    """A process that takes steps when told to."""

    def __init__(self, name: str, options: argparse.Namespace):
        arguments = [str(value) for value in (options.batch, options.size, options.threads)]
        command = [sys.executable, __file__, "--serve", name, "--batch", arguments[0], "--size", arguments[1]]
        self.process = subprocess.Popen(
            [*command, "--threads", arguments[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.losses, self.times, self.peak = [], [], 0.0

    def step(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        loss, took, self.peak = map(float, self.process.stdout.readline().split())
        self.losses.append(loss)
        self.times.append(took)


def measure(options: argparse.Namespace) -> list[dict[str, object]]:
    sides = {name: Side(name, options) for name in SIDES}
    for _ in range(_WARM_UP + options.repeats):
        for side in sides.values():
            side.step()
    for side in sides.values():
        side.process.stdin.close()
        side.process.wait()
    plain, rows = sides["plain"], []
    for name, side in sides.items():
        if abs(side.losses[0] / plain.losses[0] - 1) > 0.03 or side.losses[-1] >= side.losses[0]:
            raise AssertionError(f"{name} learns something else: {side.losses}, plain {plain.losses}")
        times, baseline = side.times[_WARM_UP:], plain.times[_WARM_UP:]
        row = {"step": f"{options.size}x{options.size}x{options.batch}", "side": name}
        row |= {"milliseconds": f"{1e3 * statistics.median(times):.0f}"}
        row |= {"times_faster": f"{median_ratio(baseline, times):.2f}", "peak_mib": f"{side.peak:.0f}"}
        row |= {"share_of_peak": f"{side.peak / plain.peak:.2f}"}
        rows.append({**row, **machine("cpu", options.threads, options.repeats)})
        print(", ".join(str(value) for value in list(row.values())), flush=True)
    return rows


def profile(side: str, batch: int, size: int) -> None:
    if "allocator" in SIDES[side]:
        keep_freed_memory()
    step = stepper(side, batch, size)
    for _ in range(_WARM_UP):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        step()
    for event in sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)[:20]:
        print(f"{event.self_cpu_time_total / 1e3:8.1f} ms  {event.count:5d} x  {event.key}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--profile", choices=SIDES, metavar="SIDE")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        serve(options.serve, options.batch, options.size)
    elif options.profile:
        profile(options.profile, options.batch, options.size)
    else:
        rows = measure(options)
        kept = [row for row in read_csv(CSV) if row["threads"] != str(options.threads)]
        write_csv([*kept, *rows], CSV)


if __name__ == "__main__":
    main()
