"""Describe a model: size, cost, classes, licences, and figures with their protocol."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ..messages import visible
from .outputs import percent
from .startup import heavy_imports

if TYPE_CHECKING:
    from ..zoo.config import ModelConfig
    from ..zoo.info import ModelInfo

_RECIPE_KEYS = ("epochs", "steps", "batch_size", "lr", "short_side", "seed")  # of a run, shown in a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME_or_FILE", help="a name from `srzoo list`, or a model or ONNX file of srzoo"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON, for programs")


def run(options: argparse.Namespace) -> int:
    from ..zoo.weights import is_model_file, is_onnx_file

    if is_onnx_file(options.name):
        facts = _of_onnx(options.name)
        rows = _onnx_rows(facts)
    elif is_model_file(options.name):
        facts = _of_file(options.name)
        rows = _file_rows(facts)
    else:
        from ..zoo.info import model_info

        with heavy_imports():
            facts = _of_name(model_info(options.name))
        rows = _name_rows(facts)
    print(
        json.dumps(facts, indent=2) if options.json else "\n".join(f"{key:14} {visible(value)}" for key, value in rows)
    )
    return 0


def _of_name(info: ModelInfo) -> dict[str, Any]:
    """The facts about an entry, as values that JSON can hold."""
    weights = None
    if info.weights:
        receipts = info.weights.receipts()
        weights = {
            "file": info.weights.file,
            "sha256": info.weights.sha256,
            "receipts": [{**each, "repeats": info.weights.repeats(each)} for each in receipts],
        }
    elif info.download:
        weights = {
            "project": info.download.project,
            "address": info.download.address,
            "path": str(info.download.path),
        }
    return {
        "name": info.name,
        "description": info.description,
        "task": info.task,
        "parameters": info.parameters,
        "multiply_adds": info.macs,
        "input_size": [*info.input_size],
        **_use(info),
        "licence": [*info.licence],
        "recipe": info.recipe,
        "weights": weights,
    }


def _use(model: ModelInfo | ModelConfig) -> dict[str, Any]:
    """How a model is used: what it takes, and what it finds."""
    return {
        "transform": dataclasses.asdict(model.transform),
        "thresholds": model.thresholds,
        "classes": [*model.classes],
        "palette": [[*colour] for colour in model.palette],
    }


def _of_file(path: str) -> dict[str, Any]:
    """The facts about a model file, from its header and the shapes of its tensors."""
    from ..recipes.recipe import parse_recipe
    from ..zoo.weights import count_parameters, read_config, read_run_recipe

    config, recipe = read_config(path), read_run_recipe(path)
    return {
        "file": path,
        "bytes": Path(path).stat().st_size,
        "name": config.name,
        "task": config.task,
        "options": config.options,
        "parameters": count_parameters(path),
        **_use(config),
        "recipe": None if recipe is None else parse_recipe(recipe, f"the recipe in {path}").to_dict(),
    }


def _of_onnx(path: str) -> dict[str, Any]:
    """The facts about an ONNX file, from its metadata."""
    with heavy_imports():
        from ..export.onnx_model import read_onnx_file

        config, form, licence = read_onnx_file(path)
    return {
        "file": path,
        "bytes": Path(path).stat().st_size,
        "name": config.name,
        "task": config.task,
        "form": dataclasses.asdict(form),
        **_use(config),
        "licence": licence.splitlines(),
    }


def input_words(transform: dict[str, Any]) -> str:
    """How an image becomes the input of the network, in words."""
    limit = f"long side at most {transform['long_side']}, " if transform["long_side"] else ""
    fit = {"stretch": "rounded down", "pad": "padded"}[transform["fit"]]
    # The network sets the multiple when it is built.
    multiple = f", {fit} to multiples of {transform['multiple']}" if transform["multiple"] > 1 else ""
    return f"short side {transform['short_side']}, {limit}at most {transform['max_pixels']:,} pixels{multiple}"


def _input_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "input", input_words(facts["transform"])
    if facts["thresholds"]:
        yield "thresholds", ", ".join(f"{key} {value:g}" for key, value in facts["thresholds"].items())


def _name_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "name", facts["name"]
    yield "", facts["description"]
    if facts["parameters"] is not None:
        height, width = facts["input_size"]
        counted = "" if facts["classes"] else ", with 19 classes"
        yield "parameters", f"{facts['parameters'] / 1e6:.2f} M{counted}"
        yield "multiply-adds", f"{facts['multiply_adds'] / 1e9:.2f} G at {width}x{height}"
    yield from _input_rows(facts)
    yield "classes", ", ".join(facts["classes"]) or "any number: pass num_classes"
    for i, line in enumerate(facts["licence"]):
        yield "licence" if i == 0 else "", line
    weights = facts["weights"]
    if facts["recipe"]:
        note = "" if weights and "sha256" in weights else "   (not run yet)"
        yield "recipe", f"srzoo train --recipe {facts['recipe']} --data.root PATH{note}"
    if not weights:
        yield "weights", "none published"
    elif "receipts" in weights:
        for receipt in weights["receipts"]:
            yield from metric_rows(receipt, receipt["repeats"])
        if all(receipt["split"] != "test" for receipt in weights["receipts"]):
            yield "on test", "not yet measured"
    else:
        yield "weights", f"of {weights['project']}, not measured here: {weights['address']}"
        yield "", f"downloaded once to {weights['path']}"


def _file_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "file", f"{facts['file']} ({facts['bytes'] / 1e6:.1f} MB)"
    yield "model", facts["name"]
    yield "task", facts["task"]
    yield "options", ", ".join(f"{key} {value}" for key, value in facts["options"].items())
    yield "parameters", f"{facts['parameters'] / 1e6:.2f} M"
    yield from _input_rows(facts)
    yield "classes", f"{len(facts['classes'])}: {', '.join(facts['classes'])}"
    recipe = facts["recipe"]
    if recipe is None:
        yield "trained by", "unknown: the file holds no recipe"
    else:
        keys = ", ".join(f"{key} {recipe[key]}" for key in _RECIPE_KEYS if recipe.get(key) is not None)
        yield "trained by", f"{keys}; `srzoo recipe {quote(facts['file'])}` prints all of it"
        yield "on", str(recipe["data"].get("root", "unknown data"))
    yield "use", f"srzoo segment IMAGE --model {quote(facts['file'])}"


def _onnx_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    form, is_semantic, channels = facts["form"], facts["task"] == "semantic", len(facts["transform"]["mean"])
    height, width = form["size"] or ("H", "W")
    shape = (
        form["batch"] or "N",
        *((height, width, channels) if form["images"] == "uint8" else (channels, height, width)),
    )
    dtype = "uint8" if form["images"] == "uint8" else "float16" if form["half"] else "float32"
    yield "file", f"{facts['file']} ({facts['bytes'] / 1e6:.1f} MB)"
    yield "model", facts["name"]
    yield "task", facts["task"]
    yield "takes", f"({', '.join(map(str, shape))}) {dtype}"
    yield (
        "returns",
        form["output"] if is_semantic else "what the heads of the detector compute, without its choice of boxes",
    )
    yield from _input_rows(facts)
    yield "classes", f"{len(facts['classes'])}: {', '.join(facts['classes'])}"
    for i, line in enumerate(facts["licence"]):
        yield "licence" if i == 0 else "", line
    if is_semantic:
        yield "use", f"srzoo segment IMAGE --model {quote(facts['file'])}"


def metric_rows(receipt: dict, repeats: list[dict]) -> list[tuple[str, str]]:
    """A receipt as rows: the figures, those of other seeds, the protocol, the figures of classes, and the command."""
    headline = receipt["headline"]
    others = {name: value for name, value in receipt["figures"].items() if name != headline}
    measured_on = f"{receipt['dataset']} {receipt['split']} ({receipt['images']} images)"
    return [
        (headline, f"{percent(receipt['figures'][headline])} on {measured_on}"),
        *(
            ("trained again", f"{percent(each['figures'][headline])} with {_differences(receipt, each)}")
            for each in repeats
        ),
        ("protocol", receipt["protocol"]),
        *((name, percent(value)) for name, value in others.items()),
        *(
            (f"{name} by class", ", ".join(f"{each} {percent(value, 1)}" for each, value in values.items()))
            for name, values in receipt["by_class"].items()
        ),
        ("counted with", ", ".join(f"{name} {value:,}" for name, value in receipt["facts"].items())),
        ("measured by", receipt["command"]),
    ]


def _differences(receipt: dict, repeat: dict) -> str:
    """The seed of a repeated training, and the keys of its recipe that differ from the published one."""
    from ..recipes.recipe import Recipe, load_recipe

    published, own = load_recipe(receipt["recipe"]).flat(), Recipe.from_dict(repeat["recipe"]).flat()
    changed = [f"{key} {own[key]}" for key in published if key != "seed" and own[key] != published[key]]
    return ", ".join([f"seed {repeat['seed']}", *changed])
