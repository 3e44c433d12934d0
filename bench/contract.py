"""Check what every architecture for semantic segmentation guarantees, and write the results to a table.

    python bench/contract.py [srnet_lite0 ...] [--without compile]

Writes ``bench/results/contract.csv`` with one row per architecture. With names as arguments, only their rows are
replaced. The number of classes does not affect the checks, so all entries of an architecture share a row. Models with
ResNet or Wider-ResNet are counted as a whole, on the meta device, but checked as narrow copies of the same code, with
the same blocks, dilations and heads; the column ``checked`` says so. ``tests/bench/test_contract.py`` runs the same
checks.

The columns of the checks have the largest difference found, relative to the largest logit or gradient. A failed check
stops the run. ``frames`` is the number of graphs that ``torch.compile`` made for four input sizes: the first size gives
one, the second size one with dynamic sizes, and a third is an error.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from counting import count
from paired import RESULTS, ROOT, machine, read_csv, told, write_csv
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]
import srzoo
from srzoo.zoo.registry import ARCHITECTURES

CSV = RESULTS / "contract.csv"
CLASSES = 19
# (H, W). Enlarged to multiples of the stride (8, 16 or 32), the sizes after the first give maps that all have more, or
# all have fewer, than 4096 values. At this number Inductor changes its algorithm for sums, and compiles again.
SIZES = ((64, 96), (65, 89), (79, 83), (90, 70))
LARGEST = 1e-4  # relative, float32
_RESNET = {"output_stride": 8, "channels": (8, 16, 32, 64), "stem_width": 8}
NARROW = {
    "r50": {"channels": 32, "backbone_options": {**_RESNET, "layers": (1, 1, 1, 3)}},
    "r101": {"channels": 32, "backbone_options": {**_RESNET, "layers": (1, 1, 2, 3)}},
    "wrn38": {
        "channels": 32,
        "backbone_options": {
            "output_stride": 8,
            "depths": (1, 1, 2, 2, 1, 1),
            "widths": ((8, 8), (8, 8), (16, 16), (16, 24), (16, 24, 32), (24, 32, 64)),
            "stage_dropout": (0.0,) * 6,  # with dropout, compiled and eager would drop different channels
        },
    },
}


def architectures() -> list[str]:
    """Names of all architectures for semantic segmentation that have a backbone of their own."""
    return [name for name, entry in ARCHITECTURES.items() if entry.has_backbone and entry.task == "semantic"]


def model_to_check(name: str) -> tuple[nn.Module, str]:
    """The model, whole or narrow, with a block whose projection is not zero; and "whole" or "narrow copy"."""
    torch.manual_seed(0)
    options = dict(NARROW.get(name.rpartition("_")[2], {}))
    if name.startswith("fcn"):
        options.pop("channels", None)
    elif options:
        options["nodes"] = 4
    model = srzoo.create_model(name, num_classes=CLASSES, dropout=0.0, **options)
    for module in model.modules():
        if isinstance(module, srzoo.layers.SqueezeReasoning):
            nn.init.normal_(module.project.weight, std=0.05)
    return model, "narrow copy" if options else "whole"


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference, divided by the largest absolute value."""
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


def hold(what: str, value: float, largest: float = LARGEST) -> float:
    """Return a difference that is at most ``largest``.

    Raises:
        AssertionError: it is larger, or NaN.
    """
    if not value <= largest:
        raise AssertionError(f"{what} differs by {value:.2e}, more than {largest:.0e}")
    return value


def image(size: tuple[int, int], batch: int = 1) -> torch.Tensor:
    """Noise ``(batch, 3, H, W)`` that is the same in every call."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(size[0]))


def eager(model: nn.Module) -> float:
    """Check that logits are finite and have the size of the input, at three sizes; return the largest."""
    model.eval()
    largest = 0.0
    with torch.inference_mode():
        for size in ((32, 32), (65, 97), (47, 130)):
            logits = model(image(size))
            assert logits.shape == (1, CLASSES, *size), logits.shape
            assert logits.isfinite().all()
            largest = max(largest, logits.abs().max().item())
    return largest


def backward(model: nn.Module) -> int:
    """Check that every parameter gets a finite gradient at batch size 1; return the number of parameter tensors."""
    model.train()
    logits, aux = model(image((65, 97)), return_aux=True)
    (logits.square().mean() + aux.square().mean()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing, f"no finite gradient: {missing[:3]}"
    model.zero_grad()
    return len(list(model.parameters()))


def compiled(model: nn.Module, training: bool, backend: str = "inductor") -> tuple[float, int]:
    """Compare logits, and in training gradients, with eager at four sizes.

    Training uses channels_last with ``force_layout_optimization``. Otherwise PyTorch 2.14's Inductor specializes the
    backward of many convolutions, even of a plain chain of three ``nn.Conv2d``, on their sizes, and compiles again for
    each size. Gradients may differ by 1e-3, or by twice the difference of eager from float64: rounding decides whether
    a ReLU passes the gradient of an input close to zero.

    Returns:
        The largest difference, and the number of graphs.
    """
    torch._dynamo.reset()
    model, expected = copy.deepcopy(model).train(training), copy.deepcopy(model).train(training)
    memory_format = torch.channels_last if training else torch.contiguous_format
    model.to(memory_format=memory_format)
    counter = CompileCounterWithBackend(backend)
    run = torch.compile(model, backend=counter, fullgraph=True)
    exact = copy.deepcopy(expected).double()
    worst, own = 0.0, 0.0
    with torch._inductor.config.patch(force_layout_optimization=training):
        for size in SIZES:
            x = image(size, 2)
            with torch.set_grad_enabled(training):
                found, wanted = run(x.contiguous(memory_format=memory_format)), expected(x)
                worst = max(worst, difference(found, wanted))
                if training:
                    worst = max(worst, _gradient_difference(model, expected, found, wanted))
                    own = max(own, _gradient_difference(expected, exact, expected(x), exact(x.double())))
    assert counter.frame_count <= 2, f"{counter.frame_count} graphs for {len(SIZES)} sizes"
    return hold("compiled", worst, max(1e-3, 2 * own) if training else LARGEST), counter.frame_count


def _gradient_difference(model: nn.Module, expected: nn.Module, found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative difference of all gradients as one vector. A single one may be only rounding, as before a BatchNorm."""
    for net, logits in ((model, found), (expected, wanted)):
        net.zero_grad()
        logits.square().mean().backward()
    pairs = [(p.grad, q.grad) for p, q in zip(model.parameters(), expected.parameters()) if q.grad is not None]
    error = sum((a - b).square().sum() for a, b in pairs).sqrt()
    return (error / sum(b.square().sum() for _, b in pairs).sqrt()).item()


def exported(model: nn.Module) -> float:
    """Compare ``torch.export`` with eager, for heights and widths of 64 to 4096, at sizes other than the example's.

    Below 64, a map of stride 32 has one row, and torch.export specializes on this.
    """
    model.eval()
    height, width = (torch.export.Dim(name, min=64, max=4096) for name in ("height", "width"))
    program = torch.export.export(model, (image((64, 96)),), dynamic_shapes={"x": {2: height, 3: width}})
    run = program.module()
    with torch.inference_mode():
        return hold("exported", max(difference(run(image(size)), model(image(size))) for size in SIZES[1:]))


def round_trip(model: nn.Module) -> float:
    """Save and load the model, and check that every tensor has the same bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        srzoo.save_model(model, path)
        state, wanted = srzoo.load_model(path).state_dict(), model.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[key], value) for key, value in wanted.items())
    return 0.0


def channels_last(model: nn.Module) -> float:
    """Compare the logits in channels_last with those of a contiguous input."""
    model.eval()
    x = image((65, 97))
    with torch.inference_mode():
        wanted = model(x)
        found = copy.deepcopy(model).to(memory_format=torch.channels_last)(
            x.contiguous(memory_format=torch.channels_last)
        )
    return hold("channels_last", difference(found, wanted))


def bfloat16(model: nn.Module) -> float:
    """Check that logits are finite under autocast; return the difference from float32, which depends on the depth."""
    model.eval()
    x = image((65, 97))
    with torch.inference_mode():
        wanted = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x)
    assert found.isfinite().all()
    return difference(found.float(), wanted)


def fused(model: nn.Module) -> float:
    """Compare the logits after `srzoo.fuse` with those before."""
    x = image((65, 97))
    with torch.inference_mode():
        return hold("fused", difference(srzoo.fuse(model)(x), model.eval()(x)))


CHECKS: dict[str, Callable[[nn.Module], float]] = {
    "largest_logit": eager,
    "gradients": backward,
    "export": exported,
    "round_trip": round_trip,
    "channels_last": channels_last,
    "bfloat16": bfloat16,
    "fused": fused,
}


def counts(name: str) -> tuple[int, int]:
    """Number of parameters of the whole model, and its multiply-adds at 512x512."""
    with torch.device("meta"):
        model = srzoo.create_model(name, num_classes=CLASSES).eval()
    return sum(p.numel() for p in model.parameters()), count(model, (1, 3, 512, 512))


def check(name: str, with_compile: bool) -> dict[str, object]:
    """Run all checks of an architecture and return its CSV row."""
    parameters, multiply_adds = counts(name)
    model, extent = model_to_check(name)
    row = {"architecture": name, "parameters": parameters, "multiply_adds_at_512x512": multiply_adds, "checked": extent}
    for column, run in CHECKS.items():
        row[column] = f"{run(model):.3g}"
    for column, training in (("compile_eval", False), ("compile_train", True)):
        worst, frames = compiled(model, training) if with_compile else (float("nan"), "")
        row |= {column: f"{worst:.1e}", f"{column}_frames": frames}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=architectures())
    parser.add_argument("--without", choices=["compile"], help="skip the checks of torch.compile, which take minutes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        row = {**check(name, options.without is None), **machine("cpu", options.threads, 1)}
        print(", ".join(map(str, list(row.values())[:15])), flush=True)
        rows = {old["architecture"]: old for old in read_csv(CSV)} | {name: row}
        write_csv([rows[key] for key in architectures() if key in rows], CSV)


if __name__ == "__main__":
    told(main)
