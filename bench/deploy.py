"""A model for deployment in each way it can be run: images a second, memory, and how far its labels agree.

    python bench/deploy.py --data.root PATH [--repeats 15] [--threads 2] [--model srnet_lite0_camvid] [--size 528 720]

All sides take the same normalized images of one size to logits at that size. ``onnxruntime, 8 bits`` is calibrated on
every eighth image of the train split; the share of equal labels, against PyTorch's, is over every eighth image of val.
Writes ``bench/results/deploy.csv``. Where glibc is asked to keep freed memory (``MALLOC_MMAP_THRESHOLD_=2147483647
MALLOC_TRIM_THRESHOLD_=2147483647`` before the command), PyTorch's sides are faster, and the column ``malloc`` says so.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from paired import extra_memory, machine, measuring, median_ratio, paired_times, results_file, told, write_csv
from PIL import Image

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.export.onnx_model import OnnxModel

_EACH = 8
_AGREE = 0.95  # of the labels, below which a side computes something else
BASELINE = "fused"


def sides(model: torch.nn.Module, size: tuple[int, int], calibrate: list, folder: Path) -> dict[str, Callable]:
    """The ways to run the model, each a function from images to logits."""
    fused = srzoo.fuse(model).to(memory_format=torch.channels_last)
    compiled = torch.compile(fused)
    srzoo.export_package(model, folder / "model.pt2", size=size)
    srzoo.export_onnx(model, folder / "float.onnx", size=size)
    srzoo.export_onnx(model, folder / "int8.onnx", calibrate, size=size)
    half = srzoo.fuse(model, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    package = torch._inductor.aoti_load_package(str(folder / "model.pt2"))
    return {
        "eager": model.to(memory_format=torch.channels_last),
        "fused": fused,
        "fused, bfloat16": lambda x: half(x.bfloat16()).float(),
        "compiled": compiled,
        "AOTInductor": lambda x: package(x.contiguous()),  # it reads any other order wrongly, and does not check
        "onnxruntime": OnnxModel(folder / "float.onnx"),
        "onnxruntime, 8 bits": OnnxModel(folder / "int8.onnx"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(15, device=None)])
    parser.add_argument("--data.root", dest="root", required=True, help="CamVid, or another dataset of the model")
    parser.add_argument("--model", default="srnet_lite0_camvid")
    parser.add_argument("--size", type=int, nargs=2, default=(528, 720))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = tuple(options.size)
    model = srzoo.create_model(options.model, pretrained=True).eval()
    images = {
        split: [Image.fromarray(data[i][0]) for i in range(0, len(data), _EACH)]
        for split in ("train", "val")
        for data in (open_dataset(options.root, split, None, len(model.config.classes)),)
    }
    resized = [image.resize(size[::-1], Image.Resampling.BILINEAR) for image in images["val"]]
    inputs = [model.config.transform.normalize(srzoo.zoo.transform._pixels(i).permute(2, 0, 1)[None]) for i in resized]
    inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        runs = sides(model, size, images["train"], Path(folder))
        expected = [model(x).argmax(1) for x in inputs]
        agreed = {
            name: sum(float((run(x).argmax(1) == labels).float().mean()) for x, labels in zip(inputs, expected))
            for name, run in runs.items()
        }
        wrong = [name for name, share in agreed.items() if share < _AGREE * len(inputs)]
        if wrong:
            raise SystemExit(f"{', '.join(wrong)}: fewer than {_AGREE:.0%} of the labels are PyTorch's")
        calls = {name: lambda run=run: run(inputs[0]) for name, run in runs.items()}
        times = paired_times(calls, options.repeats, "cpu", before=2)
        rows = [
            {
                "model": options.model,
                "size": f"{size[0]}x{size[1]}",
                "side": name,
                "milliseconds": round(1e3 * statistics.median(each), 1),
                "over_fused": round(median_ratio(each, times[BASELINE]), 3),
                "images_per_second": round(1 / statistics.median(each), 2),
                "extra_mib": round(extra_memory(calls[name], "cpu"), 1),
                "equal_labels": round(agreed[name] / len(inputs), 5),
                "malloc": "keeps" if "MALLOC_TRIM_THRESHOLD_" in os.environ else "default",
                **machine("cpu", options.threads, options.repeats),
            }
            for name, each in times.items()
        ]
    for row in rows:
        print(*list(row.values())[2:8], sep=", ")
    file = results_file("deploy", "cpu")
    if file.exists():  # those of the other malloc
        with file.open(newline="") as old:
            rows += [row for row in csv.DictReader(old) if row["malloc"] != rows[0]["malloc"]]
    write_csv(rows, file)


if __name__ == "__main__":
    told(main)
