"""A training step of srnet_lite0 on CamVid's classes, compared with plain eager float32, one improvement at a time.

    python bench/train_step.py [--repeats 7] [--threads 2] [--size 320] [--batch 8]
    python bench/train_step.py --profile allocator [--threads 1]

*plain* is what a user would write: NCHW, float32, ``interpolate`` and ``cross_entropy`` of the logits and auxiliary
logits, AdamW. Each of the next sides adds one thing that `srzoo train` does, up to *allocator*. The last three extend
*allocator*: *accumulate* splits the batch into two parts, as ``--accumulate 2`` does; *bfloat16* is the default of
`srzoo train` on CPUs that multiply it faster, and ``--precision bf16`` elsewhere; *compiled* is ``--compile true``. No
side includes data loading, the Lovasz loss or the averaged weights.

Every side is a process, because an allocator is set for a whole process, and they take their steps in turn. Peak memory
is that of the process above model and batch, over all steps. ``--profile`` prints the operators with the most time in a
step of one side. Rows of the same number of threads are replaced in ``bench/results/train_step.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from paired import RESULTS, ROOT, machine, measuring, median_ratio, read_csv, resident, seconds, write_csv
from torch.nn import functional as F

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo import create_model
from srzoo.tasks.allocator import keep_freed_memory
from srzoo.tasks.semantic.losses import SegmentationLoss
from srzoo.train.depthwise import replace_depthwise

CSV = RESULTS / "train_step.csv"
IGNORE, AUX, LR, _WARM_UP = 255, 0.4, 1e-4, 2
_DEFAULTS = ("channels_last", "depthwise", "loss", "allocator")
SIDES = {  # the improvements in each
    "plain": set(),
    **{name: set(_DEFAULTS[: place + 1]) for place, name in enumerate(_DEFAULTS)},
    "accumulate": {*_DEFAULTS, "accumulate"},
    "bfloat16": {*_DEFAULTS, "bfloat16"},
    "compiled": {*_DEFAULTS, "compiled"},
}


def plain_loss(logits: torch.Tensor, aux: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss of *plain*: logits ``(N, K, h, w)`` and auxiliary logits for a target ``(N, H, W)``."""
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
    """A function that takes one training step of a side and returns the loss."""
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
    """For each line on stdin take a step, and print its loss, its seconds and the peak MiB so far."""
    if "allocator" in SIDES[side] and not keep_freed_memory():
        raise SystemExit("the allocator cannot be set: not glibc, or the environment sets it already")
    step = stepper(side, batch, size)
    before = resident("VmRSS")
    losses = []
    for _ in sys.stdin:
        took = seconds(lambda: losses.append(step()), "cpu")
        print(losses[-1], took, (resident("VmHWM") - before) / 1024, flush=True)


class Side:
    """A process that takes one step per call of `step`."""

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
    """Measure all sides and return a row for each.

    Raises:
        AssertionError: a side has another loss than *plain*, or its loss does not fall.
    """
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
            raise AssertionError(f"the losses of {name} differ from plain: {side.losses}, plain {plain.losses}")
        times, baseline = side.times[_WARM_UP:], plain.times[_WARM_UP:]
        row = {"step": f"{options.size}x{options.size}x{options.batch}", "side": name}
        row |= {"milliseconds": f"{1e3 * statistics.median(times):.0f}"}
        row |= {"times_faster": f"{median_ratio(baseline, times):.2f}", "peak_mib": f"{side.peak:.0f}"}
        row |= {"share_of_peak": f"{side.peak / plain.peak:.2f}"}
        rows.append({**row, **machine("cpu", options.threads, options.repeats)})
        print(", ".join(str(value) for value in list(row.values())), flush=True)
    return rows


def profile(side: str, batch: int, size: int) -> None:
    """Print the twenty operators of a side's step with the most time."""
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[measuring(7, device=None)]
    )
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
