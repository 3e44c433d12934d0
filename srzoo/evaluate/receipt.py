"""The receipt of an evaluation: the figures with everything needed to measure them again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import shlex
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from ..data.samples import SegmentationData
from ..files import replacing
from ..recipes.recipe import RUN_FILES, Recipe, load_recipe
from ..tasks.semantic.boundary import BoundaryF1
from ..tasks.semantic.metrics import ConfusionMatrix
from ..tasks.semantic.protocol import Protocol
from ..zoo.checkout import commit
from ..zoo.config import ModelConfig
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
        "recipe": published.recipe if published else recipe and dataclasses.asdict(recipe),
        "seed": recipe and recipe.seed,
        "weights_sha256": hashlib.sha256((published.path if published else Path(model)).read_bytes()).hexdigest(),
    }


def make_receipt(
    model: str,
    weights: dict,
    config: ModelConfig,
    dataset: SegmentationData,
    protocol: Protocol,
    matrix: ConfusionMatrix,
    boundary: BoundaryF1,
    device: torch.device,
    id_map: dict | None = None,
) -> dict:
    """Figures as fractions, per class and over the split, with protocol, versions, commit and command.

    Args:
        model: what was given as ``--model``: a published name or the path of a file.
        weights: their `weights_facts`.
        config: of that model.
        dataset: the split that was evaluated.
        protocol: by which.
        matrix, boundary: of the whole ``dataset``.
        device: where the model ran.
        id_map: what was given as ``--data.id_map``.
    """
    data = ["--data.format", dataset.format, "--data.root", "PATH", "--split", dataset.split]
    command = ["srzoo", "eval", "--model", model, *data]
    if id_map is not None:
        command += ["--data.id_map", _flow(id_map)]
    return {
        "dataset": dataset.format,
        "split": dataset.split,
        "images": len(dataset),
        "pixels": matrix.counts.sum().item(),
        "split_sha256": _split_digest(dataset),
        "id_map": None if id_map is None else _flow(id_map),
        "protocol": protocol.sentence(config.transform),
        "scales": protocol.scales,
        "flip": protocol.flip,
        "miou": matrix.mean_iou(),
        "pixel_accuracy": matrix.pixel_accuracy(),
        "boundary_f1": _known(boundary.mean()),
        "boundary_tolerance": boundary.tolerance,
        "iou": _by_class(config, matrix.iou()),
        "boundary_f1_by_class": _by_class(config, boundary.per_class()),
        **weights,
        "command": shlex.join([*command, *protocol.arguments()]),
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


def _flow(id_map: dict) -> str:
    """On one line, as the command line takes it."""
    return yaml.safe_dump(id_map, default_flow_style=True, width=math.inf).strip()


def _by_class(config: ModelConfig, values: torch.Tensor) -> dict[str, float | None]:
    return {name: _known(value) for name, value in zip(config.classes, values.tolist(), strict=True)}


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
        receipts = json.loads(path.read_text())
        for receipt in receipts:
            _measured(receipt)
        return receipts
    except (ValueError, TypeError, KeyError, IsADirectoryError):
        pass
    raise ValueError(f"{path} is no list of receipts; give --receipt another name")


def add_receipt(receipt: dict, path: Path) -> None:
    """Put a measurement into a file of receipts, in the place of one of the same weights, labels and protocol."""
    receipts = {_measured(each): each for each in [*read_receipts(path), receipt]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(list(receipts.values()), indent=2) + "\n")


def _measured(receipt: dict) -> tuple:
    told = tuple(receipt[key] for key in ("weights_sha256", "dataset", "split", "protocol"))
    # Every folder of one's own is "folder", and its masks may be read by more than one map.
    return (*told, receipt.get("split_sha256"), receipt.get("id_map"))


def _split_digest(dataset: SegmentationData) -> str:
    """Hash of the split's file names and annotation bytes, so that a figure names the labels it was measured on."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        digest.update(Path(dataset.mask_name(index)).name.encode())
        digest.update(dataset.mask_bytes(index))
    return digest.hexdigest()
