"""Time and memory of an instance detector's operators: reading regions, training its masks, pasting, merging.

    python bench/detection_ops.py [--repeats 15] [--threads 2] [--device cpu]

Writes ``bench/results/detection_ops.csv``, or ``detection_ops_gpu.csv`` for a GPU. The scene has 100 detections in
800x1216, with boxes from 16 pixels to a third of the image. The sides are torchvision's ``paste_masks_in_image`` and
detectron2's rule in a loop over full frames, and srzoo's operators. On a CPU there are also torchvision's RoIAlign and
``MaskRCNNPredictor`` beside srzoo's, in channels_last: RoIAlign of Mask R-CNN R50 in evaluation, and with the gradient
that of a step of the small models; the predictor in bfloat16. They run in turn in one process, so a drift of the
machine affects all alike. Times are medians, and ratios are medians of the ratios in each round. Results are checked
before anything is timed. Extra memory is the peak above the inputs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial

import torch
from paired import ROOT, extra_memory, machine, measuring, median_ratio, paired_times, results_file, told, write_csv
from torch.nn import functional as F
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.layers.sparse_roi_align import sparse_roi_align
from srzoo.models.mask_predictor import MaskPredictor
from srzoo_kernels import panoptic_merge, paste_masks, torchvision_frames
from srzoo_kernels.panoptic_merge.reference import merge_frames

SIZE, DETECTIONS, MASK_SIDE, CLASSES = (
    (800, 1216),
    100,
    28,
    54,
)  # of COCO's panoptic task: 53 classes and one for things


def scene(device: str) -> dict[str, torch.Tensor]:
    """Masks with a body and a ragged edge, boxes of log-uniform sides within the image, and labels in regions."""
    generator = torch.Generator().manual_seed(0)
    height, width = SIZE
    sides = 16 * 24 ** torch.rand(DETECTIONS, 2, generator=generator)
    centres = torch.rand(DETECTIONS, 2, generator=generator) * torch.tensor([width, height])
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], 1).clamp_(min=0)
    boxes = boxes.minimum(torch.tensor([width, height, width, height]))
    noise = F.interpolate(
        torch.randn(DETECTIONS, 1, 7, 7, generator=generator), (MASK_SIDE, MASK_SIDE), mode="bilinear"
    )
    axis = torch.linspace(-1, 1, MASK_SIDE)
    masks = (4 - 6 * (axis[:, None] ** 2 + axis**2) + 2 * noise[:, 0]).sigmoid()
    labels = F.interpolate(torch.randn(1, CLASSES, 8, 12, generator=generator), SIZE, mode="bilinear").argmax(1)[0]
    is_stuff = torch.arange(CLASSES) > 0
    made = {"masks": masks, "boxes": boxes, "labels": labels, "is_stuff": is_stuff}
    return {name: each.to(device) for name, each in made.items()}


def paste_torchvision(masks: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """``(N, H, W)`` bool, as torchvision's evaluation makes it."""
    return paste_masks_in_image(masks[:, None], boxes, SIZE)[:, 0] > 0.5


def paste_srzoo(masks: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels, and their windows."""
    frames, windows = torchvision_frames(boxes, MASK_SIDE, SIZE)
    return paste_masks(masks, frames, windows, padding=1), windows


def full_frames(pixels: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """The masks in frames of the image, ``(N, H, W)`` bool."""
    frames, start = torch.zeros(len(windows), *SIZE, dtype=torch.bool, device=pixels.device), 0
    for frame, (left, top, right, bottom) in zip(frames, windows.tolist()):
        area = (right - left) * (bottom - top)
        frame[top:bottom, left:right] = pixels[start : start + area].view(bottom - top, right - left)
        start += area
    return frames


def check(masks, boxes, labels, is_stuff, pixels, windows, frames) -> None:
    """Compare the masks to torchvision's, but for values within 1e-5 of the threshold, and the ids to the loop's.

    Raises:
        AssertionError: one differs.
    """
    values = paste_masks_in_image(masks[:, None], boxes, SIZE)[:, 0]
    wrong = (values >= 0.5) != frames
    if wrong.any() and (values[wrong] - 0.5).abs().max() > 1e-5:
        raise AssertionError(f"{int(wrong.sum())} pixels are not torchvision's")
    if not torch.equal(panoptic_merge(pixels, windows, labels, is_stuff)[0], merge_frames(frames, labels, is_stuff)):
        raise AssertionError("the ids are not those of the loop over full frames")


def regions(count: int, size: tuple[int, int], images: int) -> torch.Tensor:
    """``(count, 5)`` image, x0, y0, x1, y1 of boxes with sides from 6 to 106 pixels."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(count, 2, generator=generator) * torch.tensor(size[::-1])
    halves = torch.rand(count, 2, generator=generator) * 50 + 3
    image = torch.randint(images, (count, 1), generator=generator)
    return torch.cat([image, centres - halves, centres + halves], 1)


def training(run, x: torch.Tensor) -> torch.Tensor:
    """The gradient of half the sum of the squared result."""
    x = x.detach().requires_grad_()
    found = run(x)
    found.backward(found.detach())
    return x.grad


def aligned(align, boxes: torch.Tensor, cells: int, level: torch.Tensor) -> torch.Tensor:
    """Unaligned RoIAlign of a level of stride 4, with two samples for each cell and axis."""
    return align(level, boxes, cells, 0.25, 2, False)


def cpu_cases():
    """Cases of the operators that are torchvision's on a GPU."""
    for what, count, cells, shape in (
        ("evaluation", 1000, 7, (1, 256, 200, 304)),
        ("training, boxes", 1800, 7, (4, 96, 112, 112)),
        ("training, masks", 480, 14, (4, 96, 112, 112)),
    ):
        level = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        boxes = regions(count, (4 * shape[2], 4 * shape[3]), shape[0])
        sides = {"torchvision": roi_align, "srzoo": sparse_roi_align}
        runs = {side: partial(aligned, align, boxes, cells) for side, align in sides.items()}
        if what != "evaluation":
            runs = {side: partial(training, run) for side, run in runs.items()}
        name = f"RoIAlign in {what}: {count} regions of {cells}x{cells} in {'x'.join(map(str, shape))}"
        yield name, agreeing({side: partial(run, level) for side, run in runs.items()}, 1e-3)
    modules = {"torchvision": MaskRCNNPredictor(96, 96, 6), "srzoo": MaskPredictor(96, 96, 6)}
    modules["srzoo"].load_state_dict(modules["torchvision"].state_dict())
    pooled = torch.randn(512, 96, 14, 14).bfloat16().contiguous(memory_format=torch.channels_last)
    name = "mask predictor in training: 512 regions of 14x14, 96 channels, 6 outputs"
    yield name, agreeing({side: partial(training, own.bfloat16(), pooled) for side, own in modules.items()}, 0.05)


def agreeing(runs, tolerance: float):
    """The sides, after a comparison of their results.

    Raises:
        AssertionError: they differ by more than a share of the largest number.
    """
    first, second = (run().float() for run in runs.values())
    if (first - second).abs().max() > tolerance * first.abs().max():
        raise AssertionError("the results differ")
    return runs


def cases(device: str):
    """Yield a name and the sides by name, the first of which is the baseline."""
    if device == "cpu":
        yield from cpu_cases()
    made = scene(device)
    masks, boxes, labels, is_stuff = made.values()
    pixels, windows = paste_srzoo(masks, boxes)
    frames = full_frames(pixels, windows)
    check(*made.values(), pixels, windows, frames)
    shape = "x".join(map(str, SIZE))
    name = f"paste_masks of {DETECTIONS} detections in {shape}, {len(pixels) / 1e6:.1f} million pixels in windows"
    yield name, {"torchvision": lambda: paste_torchvision(masks, boxes), "srzoo": lambda: paste_srzoo(masks, boxes)}
    name = f"panoptic_merge of {DETECTIONS} instances and {CLASSES} classes in {shape}"
    yield (
        name,
        {
            "loop over full frames": lambda: merge_frames(frames, labels, is_stuff),
            "srzoo": lambda: panoptic_merge(pixels, windows, labels, is_stuff),
        },
    )


def measure(name, runs, options):
    """Yield one row per side."""
    times = paired_times(runs, options.repeats, options.device)
    baseline = next(iter(runs))
    memory = {
        side: statistics.median(extra_memory(run, options.device) for _ in range(3)) for side, run in runs.items()
    }
    for side in runs:
        yield {
            "what": name,
            "side": side,
            "ms": round(1e3 * statistics.median(times[side]), 2 if options.device == "cpu" else 4),
            "time_over_baseline": round(median_ratio(times[side], times[baseline]), 4),
            "extra_mib": round(memory[side], 1),
            "memory_over_baseline": round(memory[side] / memory[baseline], 4),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(15)])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for case in cases(options.device):
        for row in measure(*case, options):
            rows.append(row | machine(options.device, options.threads, options.repeats))
            print(" ".join(f"{value!s:>9}" for value in list(row.values())[1:]), row["what"], flush=True)
    write_csv(rows, results_file("detection_ops", options.device))


if __name__ == "__main__":
    told(main)
