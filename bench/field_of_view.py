"""Panoptic quality of a queue's models on whole images and on crops of the size that they were trained on.

    python bench/field_of_view.py bench/queues/facade_panoptic.yaml --data.root PATH --out FOLDER [--threads 2]

``FOLDER`` is that of the queue's finished runs (``bench/train_many.py``). The block squeezes the statistics of the
whole map: in training those of a crop, in use those of an image. If that difference cost anything, a block would lose
less against none on crops. The crops are the images of val in parts that do not overlap, unscaled, which gives objects
that are cut. Writes ``bench/results/field_of_view.csv``; prints, for each value of the first axis, the mean over the
seeds and the 95 % interval of its difference to the first value, of whole images, of crops, and between the two by
seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from paired import RESULTS, ROOT, machine, told, write_csv
from seeds import welch
from train_many import Queue, Run, read_queue

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.data.objects import PanopticSample
from srzoo.data.opening import open_dataset
from srzoo.evaluate.evaluation import evaluate
from srzoo.models.folding import fuse
from srzoo.zoo.factory import trained_model

WAYS = ("whole", "crops")


def crops_of(data: Sequence[PanopticSample], side: int) -> list[PanopticSample]:
    """The parts of ``side`` x ``side`` pixels of each image, from the upper left corner on."""
    crops = []
    for image, ids, segments in data:
        for top in range(0, image.shape[0] - side + 1, side):
            for left in range(0, image.shape[1] - side + 1, side):
                window = slice(top, top + side), slice(left, left + side)
                own = np.ascontiguousarray(ids[window])
                area = dict(zip(*(each.tolist() for each in np.unique(own, return_counts=True)), strict=True))
                kept = [segment._replace(area=area[segment.id]) for segment in segments if segment.id in area]
                crops.append(PanopticSample(np.ascontiguousarray(image[window]), own, kept))
    return crops


def measure(run: dict[str, str], folder: Path, axis: str, side: int, data: dict[str, Sequence[PanopticSample]]) -> dict:
    """PQ of one run's last weights, both ways."""
    model = fuse(trained_model(str(folder / run["run"] / "last.safetensors")))
    whole = evaluate(model, data["whole"])
    small = model.config.transform.with_short_side(side)
    model.config = dataclasses.replace(model.config, transform=small)
    crops = evaluate(model, data["crops"])
    return {axis: run[axis], "seed": run["seed"], "whole": whole.value, "crops": crops.value}


def lines(rows: list[dict], axis: str) -> list[str]:
    """What the rows say about each value of the axis."""
    from scipy.stats import ttest_1samp  # here, as --help does without it

    found: dict[str, dict[str, list[float]]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        for way in WAYS:
            found.setdefault(row[axis], {}).setdefault(way, []).append(100 * float(row[way]))
    first = next(iter(found))
    texts = []
    for name, values in found.items():
        text = f"{name}: " + ", ".join(f"{way} {statistics.mean(values[way]):.2f}" for way in WAYS)
        if name != first and len(values[WAYS[0]]) > 1:  # one seed has no interval
            gaps = {way: [a - b for a, b in zip(values[way], found[first][way], strict=True)] for way in WAYS}
            for way in WAYS:
                low, high = welch(values[way], found[first][way])
                text += f"; {way} against {first} {statistics.mean(gaps[way]):+.2f} ({low:+.2f} to {high:+.2f})"
            gained = [crop - whole for whole, crop in zip(gaps["whole"], gaps["crops"], strict=True)]
            low, high = ttest_1samp(gained, 0).confidence_interval()
            text += f"; gap smaller on crops by {statistics.mean(gained):+.2f} ({low:+.2f} to {high:+.2f}, by seed)"
        texts.append(text)
    return texts


def _crop(run: Run) -> int | None:
    """The side of the crops that a run of panoptic models was trained on; None for other runs."""
    return run.recipe.get("panoptic", {}).get("crop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", type=Path, help="a YAML file")
    parser.add_argument("--data.root", dest="root", required=True, help="folder of the dataset")
    parser.add_argument("--out", type=Path, required=True, help="folder of the queue's runs")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    axes, runs = read_queue(options.queue)
    rows_of_queue, crops = Queue(runs, options.out).rows(), {_crop(run) for run in runs}
    if crops == {None} or len(crops) > 1:
        raise ValueError(f"{options.queue} has to be of panoptic models trained on crops of one size (panoptic.crop)")
    if not rows_of_queue:
        raise ValueError(f"no run of {options.queue} is finished in {options.out}")
    axis, (side,) = next(iter(axes)), crops
    whole = open_dataset(options.root, "val", task="panoptic", format="coco_panoptic")
    data = {"whole": whole, "crops": crops_of(whole, side)}
    rows = []
    for run in sorted(rows_of_queue, key=lambda run: axes[axis].index(run[axis])):
        row = measure(run, options.out, axis, side, data)
        rows.append(row | {"side": side} | machine("cpu", options.threads, 1))
        print(f"{run['run']}: whole {row['whole']:.4f}, crops {row['crops']:.4f}", flush=True)
        write_csv(rows, RESULTS / "field_of_view.csv")
    print(*lines(rows, axis), sep="\n")


if __name__ == "__main__":
    told(main)
