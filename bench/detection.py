"""Mask R-CNN as a whole against torchvision's with the same weights, and the cost of context modules in its backbone.

    python bench/detection.py [--repeats 7] [--threads 2] [--device cpu] [--size 800 1216]

Writes ``bench/results/detection.csv``, or ``detection_gpu.csv`` for a GPU. In *whole image*, both sides go from an
8-bit image to boxes, classes and binary masks of the detections of score 0.5 or more; srzoo's is `Segmenter`. Weights
are random, with a logit of the background at which 8 to 20 objects are found, and one at which 100 are, as many as
there can be. Detections are compared before anything is timed. In *backbone and pyramid*, all sides are srzoo's
ResNet-50 with a feature pyramid, fused: without a block, with non-local blocks or Squeeze Reasoning at their places in
Table 5, and with one Squeeze Reasoning behind layer4, as it is and folded into the pyramid's lateral.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from functools import partial

import numpy as np
import torch
from paired import (
    ROOT,
    count_argument,
    extra_memory,
    machine,
    measuring,
    median_ratio,
    paired_times,
    results_file,
    told,
    write_csv,
)
from PIL import Image
from torch import nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.transforms.v2 import functional as F

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import srzoo
from srzoo.models.folding import fuse
from srzoo.models.mask_rcnn import MaskRCNN

SCORE = 0.5
FEW, ALL = (8, 20), (100, 100)  # objects in an image, at least and at most
_APART = 1.0  # pixels: weights are random, so two proposals a fraction of a pixel apart may have equal scores
PLACES = {  # options of MaskRCNN
    "no block": {},
    "nl behind each bottleneck": {"context": "nl"},
    "sr in each bottleneck": {"context": "sr"},
    "sr behind layer4": {"context": "sr", "context_places": ("layer4",)},
}


def scene(size: tuple[int, int]) -> Image.Image:
    """A picture with edges at many scales, made of noise."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(3, *size)
    for cells in (4, 16, 64):
        noise = torch.randn(1, 3, cells, cells * 3 // 2, generator=generator)
        total += nn.functional.interpolate(noise, size, mode="bicubic")[0]
    return Image.fromarray((128 + 40 * total).clamp(0, 255).byte().permute(1, 2, 0).numpy())


def torchvision_model(image: Image.Image, objects: tuple[int, int]) -> nn.Module:
    """torchvision's network with random weights that find this many objects in this image, at least and at most."""
    torch.manual_seed(0)
    size = image.height, image.width
    model = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=81, min_size=min(size), max_size=max(size)
    ).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    head = model.roi_heads.box_predictor.cls_score
    nn.init.normal_(head.weight, std=0.02)
    low, high = 0.0, 1000.0
    for _ in range(20):  # the logit of the background decides how many objects are found
        nn.init.constant_(head.bias[:1], (low + high) / 2)
        count = len(torchvision_objects(model, image)["scores"])
        if objects[0] <= count <= objects[1]:
            return model
        low, high = ((low + high) / 2, high) if count > objects[1] else (low, (low + high) / 2)
    raise ValueError(
        f"no logit of the background gives {objects[0]} to {objects[1]} objects at {size[1]}x{size[0]}; choose another "
        "size"
    )


@torch.inference_mode()
def torchvision_objects(model: nn.Module, image: Image.Image) -> dict[str, torch.Tensor]:
    """Boxes, scores, labels and binary masks of score 0.5 or more, as a user of torchvision gets them."""
    device = next(model.parameters()).device
    (found,) = model([F.to_dtype(F.to_image(image), torch.float32, scale=True).to(device)])
    kept = found["scores"] >= SCORE
    objects = {key: found[key][kept] for key in ("boxes", "scores", "labels")}
    return {**objects, "masks": found["masks"][kept, 0] >= 0.5, "values": found["masks"][kept, 0]}


def segmenter_of(theirs: nn.Module, image: Image.Image, device: str) -> srzoo.Segmenter:
    """srzoo's network with the weights of torchvision's."""
    model = srzoo.create_model("mask_rcnn_r50_coco")
    state = {**model.state_dict(), **theirs.state_dict()}
    model.load_state_dict(state)
    transform = srzoo.zoo.transform.Transform(
        min(image.size), long_side=max(image.size), fit="pad", max_pixels=image.width * image.height
    )
    model.reconfigure(transform=transform)
    return srzoo.Segmenter(model, device, score=SCORE)


def check(found: srzoo.tasks.instance.result.Instances, theirs: dict[str, torch.Tensor]) -> None:
    """Compare the detections of both.

    Raises:
        AssertionError: a box differs by more than a pixel, or more of a mask differs than its border and
            2 % of its pixels.
    """
    boxes, labels = theirs["boxes"].cpu().numpy(), theirs["labels"].cpu().numpy()
    if len(found) != len(boxes):
        raise AssertionError(f"{len(found)} detections, torchvision has {len(boxes)}")
    apart = np.abs(found.boxes[:, None] - boxes[None]).max(2) + 1e3 * (found.labels[:, None] + 1 != labels)
    nearest = apart.argmin(1)  # scores that are equal but for rounding come in another order
    if sorted(nearest) != list(range(len(boxes))) or apart.min(1).max(initial=0) > _APART:
        raise AssertionError(f"a box is {apart.min(1).max():.2f} pixels from any of torchvision's")
    values = theirs["values"].cpu().numpy()
    for own, value in zip(found.masks, values[nearest]):
        # A box that differs by a rounding may be truncated to another pixel, which moves the mask's border.
        wrong = (own != (value >= 0.5)) & (np.abs(value - 0.5) > 0.02)
        if wrong.sum() > 0.02 * own.sum() + 4 * own.sum() ** 0.5:  # a share, and a border of one pixel
            raise AssertionError(f"{wrong.sum()} of {own.sum()} pixels of a mask differ")


def whole_image(objects: tuple[int, int], size: tuple[int, int], device: str):
    """Name and sides of the comparison with torchvision, for an image of this many objects, at least and at most."""
    image = scene(size)
    theirs = torchvision_model(image, objects).to(device)
    segmenter = segmenter_of(theirs, image, device)
    expected = torchvision_objects(theirs, image)
    check(segmenter(image), expected)
    other = copy.deepcopy(theirs).to(memory_format=torch.channels_last)
    return f"whole image, {len(expected['boxes'])} detections", {
        "torchvision": lambda: torchvision_objects(theirs, image),
        "torchvision, channels_last": lambda: torchvision_objects(other, image),
        "srzoo": lambda: segmenter(image, brief=True),
    }


def contexts(size: tuple[int, int], device: str):
    """Name and sides of the comparison of context modules."""
    x = torch.randn(1, 3, *(-(-side // 32) * 32 for side in size), device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    sides = {}
    for name, options in PLACES.items():
        torch.manual_seed(0)
        model = MaskRCNN("resnet50", 80, **options).to(device, memory_format=torch.channels_last).eval()
        parts = {name: fuse(model, blocks=False).backbone} | (
            {f"{name}, folded": fuse(model).backbone} if "behind layer4" in name else {}
        )
        for side, backbone in parts.items():
            sides[side] = torch.inference_mode()(lambda backbone=backbone: backbone(x))
    return "backbone and pyramid", sides


def measure(name: str, sides: dict, options: argparse.Namespace):
    """Yield one row per side."""
    # Before the timing, whose many calls leave holes in the heap that count as memory of whichever side comes next.
    memory = {}
    for side, run in sides.items():
        run()
        memory[side] = statistics.median(extra_memory(run, options.device) for _ in range(3))
    times = paired_times(sides, options.repeats, options.device)
    baseline = next(iter(sides))
    for side in sides:
        yield {
            "what": name,
            "size": "x".join(map(str, options.size)),
            "side": side,
            "ms": round(1e3 * statistics.median(times[side]), 2),
            "time_over_first": round(median_ratio(times[side], times[baseline]), 4),
            "extra_mib": round(memory[side], 1),
            "memory_over_first": round(memory[side] / memory[baseline], 4),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(7)])
    parser.add_argument("--size", type=count_argument, nargs=2, default=(800, 1216))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for make in (partial(whole_image, FEW), partial(whole_image, ALL), contexts):
        for row in measure(*make(tuple(options.size), options.device), options):
            rows.append(row | machine(options.device, options.threads, options.repeats))
            print(" ".join(f"{value!s:>10}" for value in list(row.values())[1:]), row["what"], flush=True)
    write_csv(rows, results_file("detection", options.device))


if __name__ == "__main__":
    told(main)
