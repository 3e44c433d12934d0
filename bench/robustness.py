"""mIoU on val under blur, noise, JPEG, brightness and fog, at other resolutions, and in tiles.

    python bench/robustness.py --data.root CAMVID --each 5
    python bench/robustness.py --data.root FACADE --each 5 --models srnet_lite0_facade

The shipped models for semantic segmentation, each on the dataset that it was trained on; ``--each 5`` takes every fifth
image. A model's rows replace its former ones when all of them are measured.

The corruptions are torchvision's, in five strengths; strength 0 is the plain image. *Fog* mixes the image with light
gray, which takes contrast away. A *resolution* resizes the image before the model's transform. *Tiles* of 512 pixels
segment an image that was enlarged: at its own scale, or with ``tile_scale="model"`` at that which the model was trained
at; these rows are of every fourth image. The column ``labels_as_plain`` is the share of the labels that are those of
the plain run. Writes ``bench/results/robustness.csv`` and ``robustness.png``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
import torch
from paired import RESULTS, ROOT, machine, read_csv, told, write_csv
from PIL import Image
from torchvision.transforms.v2 import functional as F

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.tasks.semantic.metrics import ConfusionMatrix

CSV = RESULTS / "robustness.csv"
STRENGTHS = (1, 2, 3, 4, 5)
TILE = 512
_TILED_EACH = 4


def blur(pixels: torch.Tensor, strength: int) -> torch.Tensor:
    sigma = (0.5, 1.0, 1.5, 2.0, 3.0)[strength - 1]
    return F.gaussian_blur(pixels, [2 * round(3 * sigma) + 1] * 2, [sigma] * 2)


def noise(pixels: torch.Tensor, strength: int) -> torch.Tensor:
    sigma = (0.02, 0.04, 0.08, 0.12, 0.18)[strength - 1]
    return F.to_dtype(F.gaussian_noise(F.to_dtype(pixels, torch.float32, True), sigma=sigma), torch.uint8, True)


def jpeg(pixels: torch.Tensor, strength: int) -> torch.Tensor:
    return F.jpeg(pixels, (60, 40, 25, 15, 8)[strength - 1])


def dark(pixels: torch.Tensor, strength: int) -> torch.Tensor:
    return F.adjust_brightness(pixels, (0.8, 0.6, 0.45, 0.3, 0.2)[strength - 1])


def bright(pixels: torch.Tensor, strength: int) -> torch.Tensor:
    return F.adjust_brightness(pixels, (1.2, 1.4, 1.7, 2.0, 2.5)[strength - 1])


def fog(pixels: torch.Tensor, strength: int) -> torch.Tensor:
    share = (0.15, 0.3, 0.45, 0.6, 0.75)[strength - 1]
    return ((1 - share) * pixels + share * 220).round().to(torch.uint8)


CORRUPTIONS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    each.__name__: each for each in (blur, noise, jpeg, dark, bright, fog)
}


def corrupted(image: Image.Image, kind: str, strength: int, index: int) -> Image.Image:
    torch.manual_seed(index)  # the same noise for every model
    return F.to_pil_image(CORRUPTIONS[kind](F.pil_to_tensor(image), strength))


def resized(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def segmenter_of(model: str) -> srzoo.Segmenter:
    """The model as it is used without options.

    Raises:
        ValueError: there are no such weights, or they are of another task.
    """
    segmenter = srzoo.Segmenter(model, "cpu")
    if segmenter.task.name != "semantic":
        raise ValueError(f"--models {model} is for {segmenter.task.name} segmentation; give semantic models")
    return segmenter


def rows_of(model: str, data: list[tuple[Image.Image, np.ndarray]], threads: int):
    """Yield a row for each condition."""
    plain = segmenter_of(model)
    tiled = {scale: srzoo.Segmenter(model, "cpu", tile=TILE, tile_scale=scale) for scale in ("image", "model")}
    expected = [plain(image, brief=True).labels for image, _ in data]

    def row(condition: str, strength: float, segmenter: srzoo.Segmenter, change: Callable, each: int = 1):
        matrix, equal = ConfusionMatrix(len(plain.classes)), []
        for i in range(0, len(data), each):
            image, ids = data[i]
            labels = Image.fromarray(segmenter(change(image, i), brief=True).labels)
            labels = np.asarray(labels.resize(image.size, Image.Resampling.NEAREST))
            matrix.update(torch.from_numpy(labels.copy()), torch.from_numpy(ids))
            equal.append((labels == expected[i]).mean())
        return {
            "model": model,
            "condition": condition,
            "strength": strength,
            "images": len(equal),
            "miou": round(matrix.mean_iou(), 4),
            "labels_as_plain": round(float(np.mean(equal)), 4),
            **machine("cpu", threads, 1),
        }

    for kind in CORRUPTIONS:
        yield row(kind, 0, plain, lambda image, i: image)
        for strength in STRENGTHS:
            yield row(kind, strength, plain, lambda image, i, s=strength, k=kind: corrupted(image, k, s, i))
    for factor in (0.5, 2):
        yield row("resolution", factor, plain, lambda image, i, f=factor: resized(image, f))
    for factor in (1, 2, 3):
        yield row("enlarged", factor, plain, lambda image, i, f=factor: resized(image, f), _TILED_EACH)
        for scale, segmenter in tiled.items():
            name = f"enlarged, tiles at the {scale}'s scale"
            yield row(name, factor, segmenter, lambda image, i, f=factor: resized(image, f), _TILED_EACH)


def draw(rows: list[dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(1, len(models), figsize=(5.2 * len(models), 3.8), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        for kind in CORRUPTIONS:
            own = [row for row in rows if row["model"] == model and row["condition"] == kind]
            axis.plot(
                [int(row["strength"]) for row in own], [100 * float(row["miou"]) for row in own], "o-", label=kind
            )
        axis.set(title=model, xlabel="strength")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("mIoU on val, %")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(RESULTS / "robustness.png", dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data.root", dest="root", help="CamVid; without it, only the picture is drawn again")
    parser.add_argument("--models", nargs="+", default=["srnet_lite0_camvid", "srnet_dfv2_camvid"])
    parser.add_argument("--each", type=int, default=1, help="take every N-th image (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.each < 1:
        parser.error(f"--each must be 1 or more, got {options.each}")
    if options.root:
        data = open_dataset(options.root, "val")
        for model in options.models:
            own = segmenter_of(model).classes
            if data.labels is None or own != data.labels.classes:
                raise ValueError(f"{model} is for other classes than {options.root}, {own[0]}, ...; give its dataset")
        samples = [(Image.fromarray(data[i][0]), data[i][1]) for i in range(0, len(data), options.each)]
        for model in options.models:
            rows = []
            for row in rows_of(model, samples, options.threads):
                print(*list(row.values())[:6], sep=", ", flush=True)
                rows.append(row)
            write_csv([*(row for row in read_csv(CSV) if row["model"] != model), *rows], CSV)
    draw(read_csv(CSV))


if __name__ == "__main__":
    told(main)
