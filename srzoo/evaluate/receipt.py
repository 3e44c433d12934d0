"""The receipt of an evaluation: its figures, with everything needed to repeat the measurement."""

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

from ..files import locked, replacing
from ..messages import one_line
from ..recipes.recipe import Recipe, load_recipe, parse_recipe
from ..tasks.task import Score
from ..untrusted.values import Value, parse_json
from ..zoo.checkout import commit
from ..zoo.foreign.download import DOWNLOADED
from ..zoo.published import PUBLISHED
from ..zoo.remote import is_remote, remote_file
from ..zoo.run_files import OLD_RUN_FILE, RUN_FILES
from ..zoo.weights import read_run_recipe

_PACKAGES = ("torch", "timm", "numpy", "pillow")


def weights_facts(model: str) -> dict:
    """The facts about the weights for `make_receipt`.

    Call it before the evaluation, since a run that is still training replaces its file.

    Args:
        model: the value of ``--model``, a name with published weights or the path of a file.

    Returns:
        ``recipe`` (the name or the keys of the recipe, or None), ``seed`` and ``weights_sha256``.

    Raises:
        FileNotFoundError: there is no such file, or it was not downloaded yet; `create_model` does that.
    """
    model = str(remote_file(model)) if is_remote(model) else model
    published = PUBLISHED.get(model)
    file = published or DOWNLOADED.get(model)
    recipe = _recipe(model)
    return {
        "recipe": published.recipe if published else recipe and recipe.to_dict(),
        "seed": recipe and recipe.seed,
        "weights_sha256": hashlib.sha256((file.path if file else Path(model)).read_bytes()).hexdigest(),
    }


def make_receipt(
    weights: dict,
    data: dict,
    score: Score,
    view: Any,
    protocol: str,
    command: Sequence[str],
    device: torch.device,
) -> dict:
    """The receipt of one evaluation, as values that JSON can hold; figures are fractions.

    Args:
        weights: the `weights_facts` of the model.
        data: the `ImageData.facts` of the split. Take them before the evaluation, too: files can change meanwhile.
        score: the score over the split.
        view: the view, an instance of the dataclass of the task.
        protocol: the view in words.
        command: the words of the command that repeats the measurement, with PATH for the folder of the dataset.
        device: the device that the model ran on.
    """
    return {
        **data,
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
    """The recipe that trained a model: that of its published weights, or the one in the file of a run."""
    if model in PUBLISHED:
        return load_recipe(PUBLISHED[model].recipe)
    try:
        stored = read_run_recipe(model)
    except (ValueError, OSError):
        stored = None
    try:
        if stored is not None:
            return parse_recipe(stored, f"the recipe in {model}")
        # Files of version 0.1 hold none. The one beside them may have been edited since.
        return (
            load_recipe(Path(model).with_name("recipe.yaml"))
            if Path(model).name in (OLD_RUN_FILE, *RUN_FILES)
            else None
        )
    except (ValueError, OSError):  # there is no such file, or it belongs to another program
        return None


def _known(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def read_receipts(path: Path) -> list[dict]:
    """The receipts in a file; an empty list if there is no file.

    Raises:
        ValueError: it is not a file of receipts.
    """
    if not path.exists():
        return []
    advice = "choose another file for --receipt"
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        values = parse_json(path.read_text(encoding="utf-8"), str(path), _LARGEST).items(most=_LARGEST)
        receipts = [Value(_current(value.keys()), value.where, value.key) for value in values]
        for receipt in receipts:
            _measured(receipt)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a list of receipts ({one_line(error)}); {advice}") from error
    return [receipt.found for receipt in receipts]


_LARGEST = 64 << 20  # bytes of a file, thousands of receipts


def _current(receipt: dict[str, Value]) -> dict:
    """A receipt with the keys that `make_receipt` writes; version 0.1 had keys for semantic segmentation only."""
    old = {key: value.found for key, value in receipt.items()}
    if "miou" not in old:
        return old
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
    """Add a receipt to a file. It replaces the one of the same weights, split and protocol, if there is one.

    Args:
        receipt: what `make_receipt` returned.
        path: the file, which is made if it does not exist.

    Raises:
        ValueError: ``path`` is not a file of receipts.
        OSError: the file cannot be written.
    """
    with locked(path.with_name(f".{path.name}.lock")):  # or one of two that write at a time would be lost
        receipts = {_measured(Value(each, str(path))): each for each in [*read_receipts(path), receipt]}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(list(receipts.values()), indent=2) + "\n", encoding="utf-8")


def _measured(receipt: Value) -> tuple:
    """What was measured: receipts with equal keys are of the same measurement."""
    keys = [receipt[key].text(4096) for key in ("weights_sha256", "dataset", "split", "protocol")]
    # The dataset is "folder" for all folders of images and masks, and two id maps can read the same masks.
    others = [receipt.get(key) for key in ("split_sha256", "id_map")]
    return (*keys, *(other and other.text(1 << 16) for other in others))
