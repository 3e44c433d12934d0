"""The forms of the block: time in inference and in training, and the memory that autograd keeps.

    python bench/sr_block.py [--repeats 15] [--threads 2] [--device cpu] [--dtypes float32 bfloat16]
        [--shapes 1x512x128x256] [--formats contiguous channels_last]

Writes ``bench/results/sr_block.csv``, or ``sr_block_gpu.csv`` for a GPU; rows replace those of the same case. *direct*
follows the paper's equations (or the authors' code). *compiled* is the direct form under ``torch.compile``. *srzoo* is
gram -> reason -> affine. *folded* is the block folded into the 3x3 convolution that follows; the time of that
convolution is subtracted. Results of inference are compared before anything is timed; gradients are compared by
``tests/kernels/test_squeeze_reasoning_training.py``. On a GPU inference is timed twice: as called, with launches, and
as the replay of a CUDA graph, which is the time of the kernels alone; and three maps are taken in turn, as the cache
would hold a single one.
The dtype "tf32" is float32 with ``allow_tf32``, of products and of convolutions.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys

import torch
from paired import (
    ROOT,
    machine,
    measuring,
    median_ratio,
    results_file,
    shape_argument,
    timed,
    told,
    update_csv,
)
from torch import nn

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.layers import ReleasedSqueezeReasoning, SqueezeReasoning
from srzoo.models.conv_act import ConvAct
from srzoo.models.folded_block import FoldedBlock
from srzoo_kernels import channel_affine, gram

CASE = ("what", "dtype", "memory_format", "side", "way")  # the columns that say what a row is of
DTYPES = ("float32", "tf32", "float16", "bfloat16")
SHAPES = [(1, 512, 128, 256)]
# What the networks have: the paper's head at two resolutions and a training batch, narrower heads, and DFNet's stride.
SHAPES_OF_A_GPU = [
    *SHAPES,
    (1, 256, 128, 256),
    (1, 128, 128, 256),
    (1, 512, 96, 96),
    (8, 512, 96, 96),
    (1, 512, 32, 64),
]
MAPS_OF_A_GPU = 3
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def block_of(kind: str, x: torch.Tensor) -> nn.Module:
    """A block of the paper or of the released code for ``x``, with a projection that is not zero."""
    torch.manual_seed(0)
    module = (SqueezeReasoning if kind == "paper" else ReleasedSqueezeReasoning)(x.shape[1])
    nn.init.normal_(module.project.weight, std=0.02)
    return module.to(x.device, x.dtype)


def each_map(form, maps: list[torch.Tensor]) -> list:
    """A call of ``form`` for each map."""
    return [lambda x=x: form(x) for x in maps]


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
    if not error < (1e-4 if x.dtype == torch.float32 and not is_tf32(x) else 2e-2):
        raise AssertionError(f"a form is off by {error:.1e}")


def inference_rows(kind: str, maps: list[torch.Tensor], options):
    """Yield the rows of the forms in inference."""
    x = maps[0]
    torch.compiler.reset()  # else shapes become dynamic from the second on, and after eight nothing is compiled
    module = block_of(kind, x).eval()
    direct, ours = module.forward_direct, module.forward
    sides = {"direct": direct, "compiled": torch.compile(direct), "srzoo": ours}
    exact = copy.deepcopy(module).float()
    with torch.inference_mode():
        for form in sides.values():
            check(form, exact.forward_direct(x.float()), x)
        runs = {side: each_map(form, maps) for side, form in sides.items()}
        if kind == "paper":
            conv = nn.Conv2d(x.shape[1], x.shape[1], 3, padding=1).to(x.device, x.dtype).requires_grad_(False)
            if not x.is_contiguous():
                conv = conv.to(memory_format=torch.channels_last)
            folded = FoldedBlock(module, conv)
            check(folded, copy.deepcopy(conv).float()(exact.forward_direct(x.float())), x)
            runs |= {"convolution": each_map(ConvAct(conv), maps), "folded": each_map(folded, maps)}
        for way, times in timed(runs, options.repeats, options.device):
            if kind == "paper":
                alone = times.pop("convolution")
                times["folded"] = [a - b for a, b in zip(times["folded"], alone)]
            yield from rows_of(f"{kind}, inference", way, times, x)


def training_rows(kind: str, maps: list[torch.Tensor], options):
    """Yield the rows of the forms in training, with the memory that autograd keeps."""
    x = maps[0]
    torch.compiler.reset()
    module = block_of(kind, x).train()
    direct, ours = module.forward_direct, module.forward
    gradient = torch.randn_like(x)
    sides = {"direct": direct, "compiled": torch.compile(direct), "srzoo": ours}
    runs = {side: [lambda form=form: step(form, x, gradient)] for side, form in sides.items()}
    for way, times in timed(runs, options.repeats, options.device):
        for row in rows_of(f"{kind}, forward + backward", way, times, x):
            if row["side"] != "compiled":
                kept = saved_bytes({"direct": direct, "srzoo": ours}[row["side"]], x)
                row["saved_beyond_x"] = round(kept / (x.numel() * x.element_size()), 4)
            yield row


def product_rows(maps: list[torch.Tensor], options):
    """Yield the rows of each product and of a product of PyTorch with as many multiply-adds, in the dtype of x."""
    x = maps[0]
    n, c = x.shape[:2]
    square = torch.randn(n, c, c, device=x.device, dtype=x.dtype)
    matrix = square / c
    forms = {  # gram computes the upper half of S
        "torch.mm (C/2 x P)(P x C)": lambda x: x.flatten(2)[:, : c // 2] @ x.flatten(2).mT,
        "gram": gram,
        "torch.mm (C x C)(C x P)": lambda x: square @ x.flatten(2),
        "channel_affine": lambda x: channel_affine(x, matrix),
    }
    sides = {side: each_map(form, maps) for side, form in forms.items()}
    with torch.inference_mode():
        for way, times in timed(sides, options.repeats, options.device):
            names = list(sides)
            for baseline, ours in (names[:2], names[2:]):
                yield from rows_of("product", way, {baseline: times[baseline], ours: times[ours]}, x)


def is_tf32(x: torch.Tensor) -> bool:
    return x.is_cuda and x.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32


def described(x: torch.Tensor) -> str:
    """The shape, e.g. "C=512, 128x256", with the number of images if there are several."""
    n, c, h, w = x.shape
    return f"C={c}, {h}x{w}" + (f", batch {n}" if n > 1 else "")


def rows_of(what: str, way: str, times: dict[str, list[float]], x: torch.Tensor):
    """Yield one row per side, with the ratio to the first side."""
    first = next(iter(times.values()))
    for side, values in times.items():
        yield {
            "what": f"{what}, {described(x)}",
            "dtype": "tf32" if is_tf32(x) else str(x.dtype).removeprefix("torch."),
            "memory_format": "contiguous" if x.is_contiguous() else "channels_last",
            "side": side,
            "way": way,
            "ms": round(1e3 * statistics.median(values), 4 if x.is_cuda else 2),
            "ratio": round(median_ratio(values, first), 4),
            "saved_beyond_x": "",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(15)])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    parser.add_argument("--shapes", nargs="+", type=shape_argument, help="NxCxHxW (default: all for the device)")
    parser.add_argument("--formats", nargs="+", default=["contiguous"], choices=FORMATS)
    parser.add_argument("--kinds", nargs="+", default=["paper", "released"], choices=["paper", "released"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for maps in inputs(options):
        groups = [product_rows(maps, options)]
        groups += [part(kind, maps, options) for kind in options.kinds for part in (inference_rows, training_rows)]
        for group in groups:
            for row in group:
                rows.append(row | machine(options.device, options.threads, options.repeats))
                facts = f"{row['ms']:>9} {row['ratio']:>7} {row['dtype']:>9} {row['way']:8} {row['side']:26}"
                print(facts, row["what"], flush=True)
            update_csv(rows, results_file("sr_block", options.device), CASE)


def inputs(options):
    """Yield the maps of each dtype, shape and memory format, as after a ReLU."""
    on_gpu = options.device != "cpu"
    for name in options.dtypes:
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        torch.backends.cudnn.allow_tf32 = name == "tf32"  # else of float32 the direct form alone computes in TF32
        dtype = torch.float32 if name == "tf32" else getattr(torch, name)
        for shape in options.shapes or (SHAPES_OF_A_GPU if on_gpu else SHAPES):
            for form in options.formats:
                torch.manual_seed(0)
                drawn = [torch.randn(shape).relu() for _ in range(MAPS_OF_A_GPU if on_gpu else 1)]
                yield [x.to(options.device, dtype).contiguous(memory_format=FORMATS[form]) for x in drawn]


if __name__ == "__main__":
    told(main)
