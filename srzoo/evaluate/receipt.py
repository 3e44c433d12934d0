"""The receipt of an evaluation: the figures with everything needed to measure them again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..data.samples import ImageData
from ..files import replacing
from ..recipes.recipe import RUN_FILES, Recipe, load_recipe
from ..tasks.task import Score
from ..zoo.checkout import commit
from ..zoo.published import PUBLISHED

_PACKAGES = ("torch", "timm", "numpy", "pillow")


def weights_facts(model: str) -> dict:
    """What a receipt says of the weights, to be read with them: a run that goes on replaces its file.

    Args:
        model: what was given as ``--model``: a published name or the path of a file.
    """
    published = PUBLISHED.get(model)
    recipe = _recipe(model)
    return {
        "recipe": published.recipe if published else recipe and recipe.to_dict(),
        "seed": recipe and recipe.seed,
        "weights_sha256": hashlib.sha256((published.path if published else Path(model)).read_bytes()).hexdigest(),
    }


def make_receipt(
    weights: dict,
    dataset: ImageData,
    score: Score,
    view: Any,
    protocol: str,
    command: Sequence[str],
    device: torch.device,
) -> dict:
    """Figures as fractions, per class and over the split, with protocol, versions, commit and command.

    Args:
        weights: their `weights_facts`.
        dataset: the split that was measured.
        score: of the whole ``dataset``.
        view: how its images were shown.
        protocol: that in words.
        command: that repeats the measurement, with PATH for the dataset's folder.
        device: where the model ran.
    """
    return {
        **dataset.facts(),
        "protocol": protocol,
        "view": dataclasses.asdict(view),
        "headline": score.headline,
        "figures": {name: _known(value) for name, value in score.figures.items()},
        "by_class": score.by_class,
        "facts": score.facts,
        **weights,
        "command": shlex.join(command),
        "commit": commit(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "device": f"cpu, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device),
    }


def _recipe(model: str) -> Recipe | None:
    """What trained it: the recipe of a published model, or that beside the file of a run."""
    if model in PUBLISHED:
        return load_recipe(PUBLISHED[model].recipe)
    if Path(model).name not in RUN_FILES:
        return None
    try:
        return load_recipe(Path(model).with_name("recipe.yaml"))
    except (ValueError, OSError):  # there is none, or it is another program's
        return None


def _known(value: float) -> float | None:
    """None for NaN, which is no JSON."""
    return None if math.isnan(value) else value


def read_receipts(path: Path) -> list[dict]:
    """The measurements in a file of receipts; none where there is no file.

    Raises:
        ValueError: it is another file.
    """
    if not path.exists():
        return []
    try:
        receipts = [_current(receipt) for receipt in json.loads(path.read_text())]
        for receipt in receipts:
            _measured(receipt)
        return receipts
    except (ValueError, TypeError, KeyError, IsADirectoryError):
        pass
    raise ValueError(f"{path} is no list of receipts; give --receipt another name")


def _current(receipt: dict) -> dict:
    """A receipt as `make_receipt` writes it now; until version 0.1 its keys were those of semantic segmentation."""
    if "miou" not in receipt:
        return receipt
    old = dict(receipt)
    figures = {"mIoU": "miou", "pixel accuracy": "pixel_accuracy", "boundary F1": "boundary_f1"}
    by_class = {"IoU": "iou", "boundary F1": "boundary_f1_by_class"}
    facts = {"pixels": "pixels", "boundary tolerance": "boundary_tolerance"}
    view = {key: old.pop(key) for key in ("scales", "flip") if key in old}
    new = {
        name: {key: old.pop(theirs) for key, theirs in table.items() if theirs in old}
        for name, table in (("figures", figures), ("by_class", by_class), ("facts", facts))
    }
    return {**old, "view": view, "headline": "mIoU", **new}


def add_receipt(receipt: dict, path: Path) -> None:
    """Put a measurement into a file of receipts, in the place of one of the same weights, labels and protocol."""
    receipts = {_measured(each): each for each in [*read_receipts(path), receipt]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(list(receipts.values()), indent=2) + "\n")


def _measured(receipt: dict) -> tuple:
    told = tuple(receipt[key] for key in ("weights_sha256", "dataset", "split", "protocol"))
    # Every folder of one's own is "folder", and its masks may be read by more than one map.
    return (*told, receipt.get("split_sha256"), receipt.get("id_map"))
