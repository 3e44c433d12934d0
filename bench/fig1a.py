"""Fig. 1(a) of the paper: the pixels of each class on which a channel before the classifier is above 0.8.

    pip install '.[plot]' && python bench/fig1a.py [--model NAME] [--data.root PATH] [--split val]

Each channel is divided by its maximum over all images, as the paper's "normalized feature". Without a folder of CamVid
it counts the example frames. Writes ``bench/results/fig1a.csv``, a row for each class and channel, and ``fig1a.png``.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
import torch
from paired import RESULTS, ROOT, machine, told, write_csv
from PIL import Image
from torch import nn
from torch.nn import functional as F

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.data.samples import SemanticData
from srzoo.labels import IGNORE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLD = 0.8


def example_frames() -> list[tuple[Image.Image, np.ndarray]]:
    """The example frames with their annotations."""
    folder = ROOT / "examples"
    return [
        (Image.open(path).convert("RGB"), np.asarray(Image.open(folder / "annotations" / path.name)))
        for path in sorted(folder.glob("*.png"))
    ]


@torch.inference_mode()
def features(model: nn.Module, image: Image.Image, target: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """``(C, P)`` features before the classifier and the ``(P,)`` classes of their pixels, at the features' size."""
    seen: list[torch.Tensor] = []
    hook = model.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    transform = model.config.transform
    model(transform.normalize(transform.resize(image)), upsample=False)
    hook.remove()
    classes = torch.from_numpy(target.astype(np.float32))[None, None]
    classes = F.interpolate(classes, size=seen[0].shape[2:], mode="nearest")[0, 0].long()
    return seen[0][0].flatten(1), classes.flatten()


def count(pairs: list[tuple[torch.Tensor, torch.Tensor]], classes: int) -> torch.Tensor:
    """``(K, C)``: share of the pixels of each class on which a channel is above `THRESHOLD` of its maximum."""
    highest = torch.stack([each.amax(1) for each, _ in pairs]).amax(0).clamp_min(1e-12)
    counts, pixels = torch.zeros(classes, len(highest)), torch.zeros(classes)
    for values, ids in pairs:
        above = (values / highest[:, None] > THRESHOLD).float()
        for k in range(classes):
            own = ids == k
            counts[k] += above[:, own].sum(1)
            pixels[k] += own.sum()
    return counts / pixels.clamp_min(1)[:, None]


def draw(figure: Figure, shares: torch.Tensor, labels: tuple[str, ...], palette: tuple, source: str) -> None:
    """A row of bars for each class, with the channels in order of the class that each fires for most."""
    order = sorted(range(shares.shape[1]), key=lambda c: (int(shares[:, c].argmax()), -float(shares[:, c].max())))
    axes = figure.subplots(len(labels), 1, sharex=True)
    for k, (axis, name) in enumerate(zip(axes, labels, strict=True)):
        axis.bar(range(len(order)), shares[k, order], color=[value / 255 for value in palette[k]], width=1)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.annotate(f"{float(shares[k].max()):.1%}", (1, 0.7), xycoords="axes fraction", fontsize=8, color="0.4")
    axes[-1].set_xlabel("channel before the classifier, sorted by the class that it fires for most")
    figure.suptitle(f"Share of a class's pixels with an activation above {THRESHOLD} (Fig. 1a), {source}", fontsize=11)
    figure.tight_layout()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="srnet_lite0_camvid")
    parser.add_argument("--data.root", dest="root", metavar="PATH")
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    import matplotlib.pyplot as plt  # here, as --help does without it

    model = srzoo.Segmenter(options.model, device="cpu").model
    if model.task != "semantic":
        raise ValueError(f"{options.model} is of the task {model.task}; the figure is of a semantic model")
    labels = model.config.classes
    data: SemanticData | list = example_frames()
    if options.root:
        data = open_dataset(options.root, options.split, format="camvid", task="semantic")
    pairs = [features(model, Image.fromarray(np.asarray(image)), np.asarray(target)) for image, target, *_ in data]
    shares = count([(values, torch.where(ids == IGNORE, -1, ids)) for values, ids in pairs], len(labels))
    facts = {"model": options.model, "images": len(pairs), **machine("cpu", torch.get_num_threads(), 1)}
    rows = [
        {"class": name, "channel": c, "share_above": round(float(shares[k, c]), 5), **facts}
        for k, name in enumerate(labels)
        for c in range(shares.shape[1])
    ]
    write_csv(rows, RESULTS / "fig1a.csv")
    figure = plt.figure(figsize=(10, 0.7 * len(labels) + 1))
    draw(figure, shares, labels, model.config.palette, f"{options.model}, {len(pairs)} images")
    figure.savefig(RESULTS / "fig1a.png", dpi=110)


if __name__ == "__main__":
    told(main)
