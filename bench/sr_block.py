"""The forms of the block: time in inference and in training, and the memory that autograd keeps.

    python bench/sr_block.py [--repeats 15] [--threads 2] [--device cpu] [--dtypes float32 bfloat16]

Writes ``bench/results/sr_block.csv``, or ``sr_block_gpu.csv`` for a GPU. *direct* follows the paper's equations (or the
authors' code). *compiled* is the direct form under ``torch.compile``. *srzoo* is gram -> reason -> affine. *folded* is
the block folded into the 3x3 convolution that follows; the time of that convolution is subtracted. Results are compared
before anything is timed. On a GPU inference is timed twice: as called, with launches, and as the replay of a CUDA
graph, which is the time of the kernels alone.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys

import torch
from paired import ROOT, machine, median_ratio, paired_times, replayed, results_file, write_csv
from torch import nn

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.layers import ReleasedSqueezeReasoning, SqueezeReasoning
from srzoo.models.folding import FoldedBlock
from srzoo_kernels import channel_affine, gram

CHANNELS, HEIGHT, WIDTH = 512, 128, 256


def block_of(kind: str, dtype: torch.dtype, device: str) -> nn.Module:
    """A block of the paper or of the released code, with a projection that is not zero."""
    torch.manual_seed(0)
    module = SqueezeReasoning(CHANNELS) if kind == "paper" else ReleasedSqueezeReasoning(CHANNELS)
    nn.init.normal_(module.project.weight, std=0.02)
    return module.to(device, dtype)


def step(form, x: torch.Tensor, gradient: torch.Tensor):
    """Run forward and backward."""
    leaf = x.detach().requires_grad_()
    form(leaf).backward(gradient)


def saved_bytes(form, x: torch.Tensor) -> int:
    """Bytes that autograd keeps after a forward pass, without the input and the parameters."""
    seen = {x.untyped_storage().data_ptr()}
    seen |= {p.untyped_storage().data_ptr() for p in form.__self__.parameters()}
    total = 0

    def pack(tensor):
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = form(x.detach().requires_grad_())
    del y
    return total


def check(form, truth: torch.Tensor, x: torch.Tensor) -> None:
    """Compare ``form(x)`` with the expected output.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    error = (form(x).float() - truth).norm() / truth.norm()
    if not error < (1e-4 if x.dtype == torch.float32 else 2e-2):
        raise AssertionError(f"a form is off by {error:.1e}")


def inference_rows(kind: str, x: torch.Tensor, options):
    """Yield the rows of the forms in inference."""
    module = block_of(kind, x.dtype, options.device).eval()
    direct, ours = module.forward_direct, module.forward
    sides = {"direct": direct, "compiled": torch.compile(direct), "srzoo": ours}
    exact = copy.deepcopy(module).float()
    with torch.inference_mode():
        for form in sides.values():
            check(form, exact.forward_direct(x.float()), x)
        runs = {side: (lambda form=form: form(x)) for side, form in sides.items()}
        if kind == "paper":
            conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).to(x.device, x.dtype)
            folded = FoldedBlock(module, conv)
            check(folded, copy.deepcopy(conv).float()(exact.forward_direct(x.float())), x)
            runs |= {"convolution": lambda: conv(x), "folded": lambda: folded(x)}
        for way, times in timed(runs, options):
            if kind == "paper":
                alone = times.pop("convolution")
                times["folded"] = [a - b for a, b in zip(times["folded"], alone)]
            yield from rows_of(f"{kind}, inference", way, times, x)


def training_rows(kind: str, x: torch.Tensor, options):
    """Yield the rows of the forms in training, with the memory that autograd keeps."""
    module = block_of(kind, x.dtype, options.device).train()
    direct, ours = module.forward_direct, module.forward
    gradient = torch.randn_like(x)
    sides = {"direct": direct, "compiled": torch.compile(direct), "srzoo": ours}
    runs = {side: (lambda form=form: step(form, x, gradient)) for side, form in sides.items()}
    times = paired_times(runs, options.repeats, options.device)
    for row in rows_of(f"{kind}, forward + backward", "called", times, x):
        if row["side"] != "compiled":
            kept = saved_bytes({"direct": direct, "srzoo": ours}[row["side"]], x)
            row["saved_beyond_x"] = round(kept / (x.numel() * x.element_size()), 4)
        yield row


def product_rows(x: torch.Tensor, options):
    """Yield the rows of each product and of a ``torch.mm`` with as many multiply-adds, in the dtype of x."""
    pixels = x.flatten(2)[0]
    square = torch.randn(CHANNELS, CHANNELS, device=x.device, dtype=x.dtype)
    matrix = square[None] / CHANNELS
    half = pixels[: CHANNELS // 2]  # gram computes the upper half of S
    sides = {
        "torch.mm (C/2 x P)(P x C)": lambda: half @ pixels.mT,
        "gram": lambda: gram(x),
        "torch.mm (C x C)(C x P)": lambda: square @ pixels,
        "channel_affine": lambda: channel_affine(x, matrix),
    }
    with torch.inference_mode():
        for way, times in timed(sides, options):
            names = list(sides)
            for baseline, ours in (names[:2], names[2:]):
                yield from rows_of("product", way, {baseline: times[baseline], ours: times[ours]}, x)


def timed(runs, options):
    """Yield the way the sides were run, "called" or "replayed", and their times."""
    yield "called", paired_times(runs, options.repeats, options.device)
    if options.device != "cpu":
        graphs = {side: replayed(run) for side, run in runs.items()}
        yield "replayed", paired_times(graphs, options.repeats, options.device)


def rows_of(what: str, way: str, times: dict[str, list[float]], x: torch.Tensor):
    """Yield one row per side, with the ratio to the first side."""
    first = next(iter(times.values()))
    for side, values in times.items():
        yield {
            "what": f"{what}, C={CHANNELS}, {HEIGHT}x{WIDTH}",
            "dtype": str(x.dtype).removeprefix("torch."),
            "side": side,
            "way": way,
            "ms": round(1e3 * statistics.median(values), 4 if x.is_cuda else 2),
            "ratio": round(median_ratio(values, first), 4),
            "saved_beyond_x": "",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.dtypes:
        torch.manual_seed(0)
        x = torch.randn(1, CHANNELS, HEIGHT, WIDTH).relu().to(options.device, getattr(torch, name))  # as after a ReLU
        groups = [product_rows(x, options)]
        groups += [part(kind, x, options) for kind in ("paper", "released") for part in (inference_rows, training_rows)]
        for group in groups:
            for row in group:
                rows.append(row | machine(options.device, options.threads, options.repeats))
                facts = f"{row['ms']:>9} {row['ratio']:>7} {row['dtype']:>9} {row['way']:8} {row['side']:26}"
                print(facts, row["what"], flush=True)
            write_csv(rows, results_file("sr_block", options.device))


if __name__ == "__main__":
    main()
