"""Compare whole models with their alternatives: latency, throughput, peak memory, parameters, multiply-adds.

    python bench/models.py [--cases 512x1-float32-eager ...] [--models srnet_lite0 ...] [--repeats 5] [--threads 2]
        [--out FILE]
    python bench/models.py --device cuda
    python bench/models.py --plot

A case ``512x1-float32-eager`` is an input size (``512`` is 512x512, ``2048`` is 1024x2048), a batch size, a precision
and a way to run. The models of a case run in turn in one process, so a drift of the machine affects all alike. Their
rows replace earlier ones in ``bench/results/models.csv``, or in ``models_gpu.csv`` for a GPU. ``--plot`` draws
``models.png`` from ``models.csv``.

All models have random weights, 19 classes, evaluation mode and channels_last, and return logits of the input's size.
bfloat16 and float16 mean autocast, or with ``half`` weights of that dtype. ``fused`` means `srzoo.fuse` for srzoo's
models, and BatchNorms folded into convolutions for the others. ``compiled`` is ``torch.compile``, ``reduced`` its mode
"reduce-overhead", and ``replayed`` the replay of a CUDA graph, which does not wait for launches. Several are written
``half+fused+replayed``. ``srnet resnet50`` is SRNet with the plain ResNet-50 that the others use; ``srnet_r50`` has the
paper's deep stem. Peak memory is measured during a second call, above the model and its input; on a CPU in a separate
process per model. Times are medians. Ratios are medians of the ratios in each round, to the first SRNet of the same
tier.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from counting import multiply_adds
from paired import (
    RESULTS,
    ROOT,
    extra_memory,
    machine,
    measuring,
    median_ratio,
    paired_times,
    read_csv,
    replayed,
    results_file,
    told,
    update_csv,
)
from torch.nn.utils.fusion import fuse_conv_bn_eval

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]
import srzoo
from srzoo.messages import one_line

CSV, PLOT = RESULTS / "models.csv", RESULTS / "models.png"
CLASSES = 19
WAYS = {"eager", "half", "fused", "compiled", "reduced", "replayed"}
PRECISIONS = ("float32", "float16", "bfloat16")
SIZES = {"512": (512, 512), "2048": (1024, 2048)}
# By tier: models with a ResNet-50, and models for real time or for phones.
TIERS = {
    "ResNet-50, stride 8": [
        "srnet_r50",
        "srnet resnet50",
        "smp DeepLabV3",
        "torchvision deeplabv3_resnet50",
        "torchvision fcn_resnet50",
    ],
    "ResNet-50, coarser": ["smp DeepLabV3Plus", "smp PSPNet", "smp FPN", "smp Segformer"],
    "light": [
        "srnet_lite0",
        "srnet_dfv2",
        "smp DeepLabV3Plus lite0",
        "smp FPN lite0",
        "torchvision lraspp_mobilenet_v3_large",
    ],
}
MODELS = [name for names in TIERS.values() for name in names]
CASES = [
    *(f"512x{batch}-{precision}-eager" for batch in (1, 4) for precision in ("float32", "bfloat16")),
    *(f"512x1-float32-{way}" for way in ("fused", "compiled")),
    "512x4-float32-fused",
    "2048x1-float32-eager",
    "2048x1-bfloat16-eager",
    "2048x1-float32-fused",
]
GPU_WAYS = ("eager", "half+fused+replayed", "half+fused+reduced")
GPU_CASES = [f"{place}-float16-{way}" for place in ("2048x1", "512x1") for way in GPU_WAYS]


def case_argument(text: str) -> str:
    """A command's case, for argparse."""
    place, precision, way = [*text.split("-"), "", ""][:3]
    size, _, batch = place.partition("x")
    known = size in SIZES and batch.isdecimal() and int(batch) and precision in PRECISIONS
    if text.count("-") != 2 or not known or not set(way.split("+")) <= WAYS:
        raise argparse.ArgumentTypeError(
            f"expected SIZExBATCH-PRECISION-WAY of the sizes {', '.join(SIZES)}, the precisions "
            f"{', '.join(PRECISIONS)}, and the ways {', '.join(sorted(WAYS))}, several joined by +; got {text!r}"
        )
    return text


def build(name: str) -> torch.nn.Module:
    """A model of `MODELS` in evaluation mode, whose output is logits ``(N, 19, H, W)``."""
    library, _, rest = name.rpartition(" ") if name.startswith("torchvision") else name.partition(" ")
    if library == "smp":
        import segmentation_models_pytorch as smp

        architecture, _, encoder = rest.partition(" ")
        encoder = "tu-tf_efficientnet_lite0" if encoder else "resnet50"
        return getattr(smp, architecture)(encoder, encoder_weights=None, classes=CLASSES).eval()
    if library == "torchvision":
        from torchvision.models import segmentation

        builder = getattr(segmentation, rest)
        return _Logits(builder(weights=None, weights_backbone=None, num_classes=CLASSES)).eval()
    if name == "srnet resnet50":
        options = {"backbone": "resnet50", "output_stride": 8, "multi_grid": (1, 2, 4), "channels": 512}
        return srzoo.create_model("srnet", num_classes=CLASSES, **options).eval()
    return srzoo.create_model(name, num_classes=CLASSES).eval()


class _Logits(torch.nn.Module):
    """Unpacks the logits of torchvision's models, which return a dict."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)["out"]


def fold_norms(model: torch.nn.Module) -> torch.nn.Module:
    """Fold every BatchNorm that directly follows a convolution into it, in place, as `srzoo.fuse` does."""
    outputs, pairs = {}, []

    def seen(conv: str):
        return lambda module, inputs, output: outputs.update({id(output): (conv, output)})

    def read(norm: str):
        return lambda module, inputs: pairs.append((outputs.get(id(inputs[0]), ("",))[0], norm))

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            hooks.append(module.register_forward_hook(seen(name)))
        elif isinstance(module, torch.nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(read(name)))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        if conv:
            old = model.get_submodule(norm)
            model.set_submodule(conv, fuse_conv_bn_eval(model.get_submodule(conv), old))
            model.set_submodule(norm, getattr(old, "act", torch.nn.Identity()))  # timm's contain their activation
    return model


def runner(name: str, case: str, device: str):
    """A function that runs the model of a case once on its input."""
    place, precision, way = case.split("-")
    size, _, batch = place.partition("x")
    ways = set(way.split("+"))
    model = build(name)
    if "fused" in ways:
        model = srzoo.fuse(model) if name.startswith("srnet") else fold_norms(model)
    model = model.to(device, memory_format=torch.channels_last)
    x = torch.randn(int(batch), 3, *SIZES[size]).to(device, memory_format=torch.channels_last)
    half = None if precision == "float32" else getattr(torch, precision)
    if "half" in ways:
        model, x, half = model.to(half), x.to(half), None
    called = model
    if ways & {"compiled", "reduced"}:
        called = torch.compile(model, mode="reduce-overhead" if "reduced" in ways else None)

    def run():
        with torch.inference_mode(), torch.autocast(device, half, enabled=half is not None):
            return called(x)

    return replayed(run) if "replayed" in ways else run


@cache
def counts(name: str, size: tuple[int, int]) -> tuple[float, float]:
    """Parameters in 10^6, and multiply-adds of one image in 10^9."""
    with torch.device("meta"):
        model = build(name)

    def run(x: torch.Tensor) -> None:
        logits = model(x)
        assert logits.shape == (1, CLASSES, *size), (name, logits.shape)

    return sum(p.numel() for p in model.parameters()) / 1e6, multiply_adds(run, (1, 3, *size))


def peak_memory(name: str, case: str, threads: int, device: str) -> float:
    """Peak MiB above model and input; measured in a separate process on a CPU."""
    if device != "cpu":
        return _second_call(name, case, device)
    command = [sys.executable, __file__, "--peak", name, "--cases", case, "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def _second_call(name: str, case: str, device: str) -> float:
    """Peak MiB of a second call in this process."""
    run = runner(name, case, device)
    run()  # the first call also compiles
    return extra_memory(run, device)


def prepared(names: list[str], case: str, device: str) -> dict[str, Callable[[], object]]:
    """What runs each model; a peer whose library is missing, or that fails, is left out with a line."""
    sides = {}
    for name in names:
        try:
            run = runner(name, case, device)
            run()  # compiles
        except Exception as error:
            if name.startswith("srnet"):
                raise
            print(f"{case}: without {name}, which fails: {one_line(error)}", file=sys.stderr)
        else:
            sides[name] = run
    return sides


def measure(case: str, names: list[str], repeats: int, threads: int, device: str) -> list[dict[str, object]]:
    """Measure the models in one case and return a row for each."""
    torch.compiler.reset()  # else another size than in the case before is taken for a dynamic one
    sides = prepared(names, case, device)
    times = paired_times(sides, repeats, device)
    names = list(sides)
    del sides
    batch, digits = int(case.split("-")[0].partition("x")[2]), 1 if device == "cpu" else 3
    rows = []
    for name in names:
        tier = next(title for title, members in TIERS.items() if name in members)
        first = "srnet_lite0" if tier == "light" else "srnet_r50"
        parameters, operations = counts(name, SIZES[case.split("-")[0].partition("x")[0]])
        seconds = statistics.median(times[name])
        ratio = f"{median_ratio(times[name], times[first]):.3f}" if first in times else ""
        row = {"case": case, "tier": tier, "model": name, "parameters_m": f"{parameters:.3f}"}
        row |= {"multiply_adds_g": f"{operations:.2f}", "milliseconds": f"{1e3 * seconds:.{digits}f}"}
        row |= {"images_per_second": f"{batch / seconds:.3f}", "ratio_to_srnet": ratio}
        # A replay allocates no memory, because its graph owns it.
        row["peak_mib"] = (
            "" if "replayed" in case or "reduced" in case else f"{peak_memory(name, case, threads, device):.0f}"
        )
        rows.append({**row, **machine(device, threads, repeats)})
        print(", ".join(str(value) for value in list(rows[-1].values())[:9]), flush=True)
    return rows


def plot() -> None:
    """Draw latency and peak memory of each model at batch size 1 in eager float32: two panels per size and tier."""
    import matplotlib.pyplot as plt

    rows = read_csv(CSV)
    panels = {}
    for case in ("512x1-float32-eager", "2048x1-float32-eager"):
        for tier in TIERS:
            found = [row for row in rows if (row["case"], row["tier"]) == (case, tier)]
            if found:
                panels[case, tier] = sorted(found, key=lambda row: MODELS.index(row["model"]), reverse=True)
    columns = {"milliseconds": "ms per image", "peak_mib": "peak MiB above model and input"}
    heights = [len(found) + 1.5 for found in panels.values()]  # in bars, with the title
    figure, axes = plt.subplots(
        len(panels), 2, figsize=(12, 0.32 * sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for line, ((case, tier), found) in zip(axes, panels.items(), strict=True):
        for axis, (column, title) in zip(line, columns.items(), strict=True):
            _bars(axis, found, column)
            axis.set_title(f"{'x'.join(map(str, SIZES[case.split('x')[0]]))}, {tier}: {title}", fontsize=10)
        line[1].set_yticklabels([])
    first = rows[0]
    figure.suptitle(
        f"Batch 1, float32, eager, {first['device']}, {first['threads']} threads, torch {first['torch']}; SRNet in "
        "orange",
        fontsize=11,
    )
    figure.savefig(PLOT, dpi=130)


def _bars(axis, rows: list[dict[str, str]], column: str) -> None:
    names, values = [row["model"] for row in rows], [float(row[column]) for row in rows]
    bars = axis.barh(names, values, color=["tab:orange" if name.startswith("srnet") else "tab:blue" for name in names])
    axis.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=8)
    axis.set_xlim(0, 1.15 * max(values))
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[measuring(5)]
    )
    parser.add_argument("--cases", nargs="+", type=case_argument, help="(default: all for the device)")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("--out", type=Path, help="the CSV (default: of the device, in bench/results)")
    parser.add_argument("--peak", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    if options.device == "cpu" and any("replayed" in case for case in options.cases or ()):
        parser.error("argument --cases: replayed is a CUDA graph's; give --device cuda")
    torch.set_num_threads(options.threads)
    csv = options.out or results_file("models", options.device)
    if options.peak:
        print(_second_call(options.peak, options.cases[0], "cpu"))
    elif options.plot:
        plot()
    else:
        for case in options.cases or (CASES if options.device == "cpu" else GPU_CASES):
            rows = measure(case, options.models, options.repeats, options.threads, options.device)
            if rows:  # of the peers asked for a library may be missing
                update_csv(rows, csv, ("case", "model"))


if __name__ == "__main__":
    told(main)
