"""Train a model by a recipe or on your own data; a run that was stopped goes on from its checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..zoo.weights import is_model_file, read_config
from .data_options import add_data_arguments, check_quickly, yaml_mapping, yaml_value
from .outputs import prepare_folder

if TYPE_CHECKING:
    from ..data.samples import ImageData
    from ..recipes.recipe import Recipe

# By annotation; the others are YAML.
_KINDS = {
    "str": str,
    "str | None": str,
    "int": int,
    "int | None": int,
    "float": float,
    "dict": yaml_mapping,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..recipes.recipe import Recipe

    parser.add_argument(
        "--recipe",
        help="name of a recipe in the package, or a YAML file (default: one that suits --model and the data)",
    )
    add_data_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/<recipe or model>)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that load images (default: 1, for each GPU up to 8)"
    )
    parser.add_argument("--num_classes", type=int, metavar="N", help="(default: the data's, else the model's)")
    group = parser.add_argument_group("keys of the recipe, to be set differently")
    help_of = {**key_help(), "model": "a name from `srzoo list`, or a .safetensors file of ours to go on from"}
    for key in dataclasses.fields(Recipe):
        many = {"nargs": "+"} if "tuple" in key.type else {}
        kind = _KINDS.get(key.type, yaml_value)
        group.add_argument(f"--{key.name}", type=kind, metavar="VALUE", help=help_of.get(key.name), **many)


def key_help() -> dict[str, str]:
    """What the docstring of `Recipe` says of each key."""
    from ..recipes.recipe import Recipe

    text = inspect.getdoc(Recipe).partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE)
    return {name: " ".join(line.split()) for name, line in entries}


def run(options: argparse.Namespace) -> int:
    from ..recipes.recipe import load_recipe

    overrides = overridden_keys(options)
    if options.recipe:
        recipe = load_recipe(options.recipe, **overrides)
        splits = open_splits(options, recipe.model, recipe.model_options.get("num_classes"))
    elif options.model:
        splits = open_splits(options, options.model, overrides.get("model_options", {}).get("num_classes"))
        recipe = fitting_recipe(options, overrides, len(splits["train"]))
    else:
        raise ValueError("give --model NAME to fine-tune on your own data, or --recipe NAME")
    check_quickly(splits, max(splits["train"].id_map.classes) + 1, options.root)
    if recipe.pretrained and "pretrained_backbone" in overrides:
        raise ValueError(
            f"{recipe.model} starts from weights that bring a backbone of their own: leave --pretrained_backbone out, "
            "or name an architecture and say --pretrained false"
        )
    train_set, val_set = splits.values()
    _say(f"{options.root}: {train_set.format}, {len(train_set)} images to train on, {len(val_set)} to evaluate")
    try:
        from torch import cuda

        from ..train.allocator import keep_freed_memory
        from ..train.loop import train
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs the package {error.name!r}: pip install 'srzoo[train]'") from error
    if not cuda.is_available():
        keep_freed_memory()
    out = options.out or Path("runs") / Path(options.recipe or options.model).stem
    prepare_folder(out)
    _say(f"{headline(recipe)}; all of the recipe is in {out / 'recipe.yaml'}")
    workers = default_workers() if options.workers is None else options.workers
    try:
        miou = train(recipe, train_set, val_set, out, workers)
    except KeyboardInterrupt:
        is_kept = (out / "checkpoint.pt").is_file()
        said = f"goes on from the last checkpoint in {out}" if is_kept else "starts again: there was no checkpoint yet"
        raise KeyboardInterrupt(f"the same command {said}") from None
    _say(f"val mIoU {miou:.2%}; the model is {out / 'model.safetensors'}")
    return 0


def _say(text: str) -> None:
    """Print it, in one of the processes."""
    if int(os.environ.get("RANK", 0)) == 0:
        print(text)


def default_workers() -> int:
    """One beside a CPU, which is slower than it; beside a GPU its share of the cores, up to 8."""
    from torch import cuda

    if not cuda.is_available():
        return 1
    return max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def overridden_keys(options: argparse.Namespace) -> dict:
    """The recipe's keys that were given on the command line."""
    from ..recipes.recipe import Recipe

    keys = {key.name: getattr(options, key.name) for key in dataclasses.fields(Recipe)}
    given = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in keys.items()
        if value is not None
    }
    if options.num_classes is not None:
        given["model_options"] = {**given.get("model_options", {}), "num_classes": options.num_classes}
    if options.model and is_model_file(options.model):
        given.setdefault("pretrained", True)
    return given


def fitting_recipe(options: argparse.Namespace, overrides: dict, images: int) -> Recipe:
    """`default_recipe` for what was given as ``--model``, a name or a file of ours."""
    from ..recipes.recipe import default_recipe

    if not is_model_file(options.model):
        start = {"pretrained": False} if "pretrained_backbone" in overrides else {}
        return default_recipe(images=images, **{**start, **overrides})
    config = read_config(options.model)
    recipe = default_recipe(
        images=images, **{"short_side": config.transform.short_side, **overrides, "model": config.name}
    )
    return dataclasses.replace(recipe, model=options.model)


def open_splits(options: argparse.Namespace, model: str, num_classes: int | None) -> dict[str, ImageData]:
    """The splits to train and evaluate on, for a model of so many classes."""
    from ..data.opening import open_dataset

    of_model = own_classes(model)
    splits = {
        split: open_dataset(options.root, split, options.format, num_classes, options.id_map)
        for split in ("train", "val")
    }
    if num_classes is None and splits["train"].labels is None:
        if of_model is None:
            raise ValueError(
                f"how many classes? pass --num_classes N, or name them in {Path(options.root, 'classes.txt')}, one a "
                f"line; `srzoo data check {options.root}` counts them"
            )
        return open_splits(options, model, of_model)
    return splits


def own_classes(model: str) -> int | None:
    """How many classes a model has by its name or in its file; None for an architecture without a dataset."""
    from ..zoo.datasets import DATASETS
    from ..zoo.registry import split_name

    if is_model_file(model):
        return len(read_config(model).classes)
    dataset = split_name(model)[1]
    return None if dataset is None else len(DATASETS[dataset].labels["semantic"].classes)


def headline(recipe: Recipe) -> str:
    """The keys of a recipe that say most."""
    chosen = {
        key: getattr(recipe, key) for key in ("model", "epochs", "steps", "batch_size", "crop", "lr", "pretrained")
    }
    return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)
