"""The receipt of an evaluation: the figures with everything needed to measure them again."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from ..config import ModelConfig
from ..data.dataset import SegmentationData
from ..files import replacing
from ..published import PUBLISHED
from .metrics import ConfusionMatrix
from .recipe import load_recipe

_PACKAGES = ("torch", "timm", "numpy", "pillow")


def make_receipt(model: str, config: ModelConfig, dataset: SegmentationData, matrix: ConfusionMatrix) -> dict:
    """Figures as fractions, per class and over the split, with protocol, versions, commit and command.

    Args:
        model: what was given as ``--model``: a published name or the path of a file.
        config: of that model.
        dataset: the split that was evaluated.
        matrix: of the whole ``dataset``.
    """
    published = PUBLISHED.get(model)
    data = f"--data.format {dataset.format} --data.root PATH --split {dataset.split}"
    iou = dict(zip(config.classes, matrix.iou().tolist(), strict=True))
    return {
        "dataset": dataset.format,
        "split": dataset.split,
        "images": len(dataset),
        "split_sha256": _split_digest(dataset),
        "protocol": (
            f"single scale, no flip, short side {config.transform.short_side} into the network, "
            "labels compared at the annotation's size, one confusion matrix over the split"
        ),
        "miou": matrix.mean_iou(),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "iou": {name: None if math.isnan(value) else value for name, value in iou.items()},
        "recipe": published.recipe if published else None,
        "seed": load_recipe(published.recipe).seed if published else None,
        "weights_sha256": hashlib.sha256((published.path if published else Path(model)).read_bytes()).hexdigest(),
        "command": f"srzoo eval --model {model} {data}",
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "device": "cuda" if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads",
    }


def write_receipt(receipt: dict, path: Path) -> None:
    """Write a receipt as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(receipt, indent=2) + "\n")


def _split_digest(dataset: SegmentationData) -> str:
    """Hash of the split's file names and annotation bytes, so that a figure names the labels it was measured on."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        digest.update(Path(dataset.mask_name(index)).name.encode())
        digest.update(dataset.mask_bytes(index))
    return digest.hexdigest()


def _commit() -> str | None:
    """Commit of the checkout this package runs from; None for an installed one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
