"""Time and memory of the last step of a segmentation network: labels in inference, cross-entropy in training.

    python bench/head.py [--repeats 15] [--threads 2] [--device cpu] [--dtypes float32 bfloat16]

Writes ``bench/results/head.csv``, or ``head_gpu.csv`` for a GPU; rows replace those of the same case. The sides are
PyTorch's operators, eager and compiled, and srzoo's. They run in turn in one process, so a drift of the machine affects
all alike. Times are medians, and ratios are medians of the ratios in each round. Results are checked before anything is
timed. Extra memory is the peak above the inputs. On a GPU a side is timed as called, with launches, and as the replay
of a CUDA graph, the kernels alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from paired import ROOT, extra_memory, machine, measuring, median_ratio, results_file, timed, told, update_csv
from torch.nn import functional as F

sys.path.insert(0, str(ROOT / "kernels"))

from srzoo_kernels import upsample_argmax, upsample_cross_entropy
from srzoo_kernels.upsample_argmax.reference import upsample_argmax as eager_argmax
from srzoo_kernels.upsample_cross_entropy.reference import upsample_cross_entropy as eager_mined_loss

DTYPES = ("float32", "float16", "bfloat16")


def eager_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss as in a usual training loop. Unlike the reference it is NaN for a target without a label."""
    return F.cross_entropy(F.interpolate(logits, target.shape[1:], mode="bilinear"), target, ignore_index=255)


def with_gradient(loss: Callable, **options) -> Callable:
    """A function that runs ``loss(logits, target)`` and its backward, and returns the loss and the gradient."""

    def run(logits, target):
        logits = logits.detach().requires_grad_()
        value = loss(logits, target, **options)
        value.backward()
        return value.detach(), logits.grad

    return run


def random_logits(shape, dtype, device):
    """Random logits, the worst case: the four corners of a cell hardly ever have the same class."""
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(device, dtype)


def regions_of_logits(shape, dtype, device):
    """Logits like a network's: classes form regions, with sides of about an eighth of the map."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(*shape[:2], 8, 8, generator=generator)
    smooth = F.interpolate(coarse, shape[2:], mode="bicubic")
    return (5 * smooth + 0.1 * torch.randn(shape, generator=generator)).to(device, dtype)


def check_labels(labels: torch.Tensor, logits: torch.Tensor) -> None:
    """Check that the logit of every label is the largest, to 1e-5 in float32.

    Raises:
        AssertionError: it is not.
    """
    for image, chosen in zip(logits, labels):
        full = F.interpolate(image[None].float(), chosen.shape, mode="bilinear")[0]
        gap = full.amax(0) - full.gather(0, chosen.long()[None])[0]
        if gap.max() > 1e-5:
            raise AssertionError(f"a label's logit is {gap.max():.2e} below the largest")


def check_loss(result: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Compare the loss to 1e-5, and the gradient to 1e-5 of its largest entry or to the rounding of its dtype.

    Raises:
        AssertionError: a larger difference.
    """
    (value, gradient), (expected_value, expected_gradient) = result, expected
    tolerance = max(1e-5, torch.finfo(gradient.dtype).eps)
    error = (gradient.float() - expected_gradient).abs().max() / expected_gradient.abs().max()
    if abs(value - expected_value) > 1e-5 * expected_value or error > tolerance:
        raise AssertionError(f"loss {value} for {expected_value}, gradient off by {error:.2e}")


def cases(dtype: torch.dtype, device: str):
    """Yield the name, the inputs, the sides by name, and a check of srzoo's result."""
    size = (1024, 2048)
    for name, make in (("random", random_logits), ("regions", regions_of_logits)):
        logits = make((1, 19, 128, 256), dtype, device)
        sides = {
            "eager": lambda x: eager_argmax(x, size),
            "compiled": torch.compile(lambda x: eager_argmax(x, size)),
            "srzoo": lambda x: upsample_argmax(x, size),
        }
        yield f"upsample_argmax 19x128x256 to 1024x2048, {name}", (logits,), sides, check_labels
    logits = random_logits((2, 150, 64, 64), dtype, device)
    target = torch.randint(150, (2, 512, 512), generator=torch.Generator().manual_seed(1)).to(device)
    target[:, :50] = 255
    plain, mined = {}, {"ohem": (0.7, 100_000)}
    for name, options, eager in (("", plain, eager_loss), (", mined", mined, eager_mined_loss)):
        sides = {"eager": with_gradient(eager, **options), "srzoo": with_gradient(upsample_cross_entropy, **options)}
        if not options:
            sides["compiled"] = with_gradient(torch.compile(eager))
        expected = with_gradient(eager, **options)(logits.float(), target)
        name = f"upsample_cross_entropy forward + backward 2x150x64x64 to 512x512{name}"
        yield name, (logits, target), sides, lambda result, *_, expected=expected: check_loss(result, expected)


def measure(name, inputs, sides, check, options, dtype):
    """Yield one row per side."""
    runs = {side: (lambda call=call: call(*inputs)) for side, call in sides.items()}
    check(runs["srzoo"](), *inputs)
    memory = {
        side: statistics.median(extra_memory(run, options.device) for _ in range(3)) for side, run in runs.items()
    }
    uncaptured = "eager" if "mined" in name else ""  # it counts pixels on the host
    calls = {side: [run] for side, run in runs.items()}
    for way, times in timed(calls, options.repeats, options.device, uncaptured):
        for side in times:
            yield {
                "what": name,
                "dtype": str(dtype).removeprefix("torch."),
                "side": side,
                "way": way,
                "ms": round(1e3 * statistics.median(times[side]), 2 if options.device == "cpu" else 4),
                "time_over_eager": round(median_ratio(times[side], times["eager"]), 4) if "eager" in times else "",
                "extra_mib": round(memory[side], 1),
                "memory_over_eager": round(memory[side] / memory["eager"], 4),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(15)])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for dtype in (getattr(torch, name) for name in options.dtypes):
        for case in cases(dtype, options.device):
            for row in measure(*case, options, dtype):
                rows.append(row | machine(options.device, options.threads, options.repeats))
                print(" ".join(f"{value!s:>9}" for value in list(row.values())[1:]), row["what"], flush=True)
            update_csv(rows, results_file("head", options.device), ("what", "dtype", "side", "way"))


if __name__ == "__main__":
    told(main)
