"""Train a model by a recipe or on your own data; a stopped run resumes from its checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluate.distributed import is_main_process
from .arguments import add_options, given_options, yaml_value
from .data_options import add_old_names, check_root
from .outputs import prepare_folder

if TYPE_CHECKING:
    from ..data.reading import Reading
    from ..data.samples import ImageData
    from ..recipes.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..recipes.recipe import moved_keys, recipe_keys

    parser.add_argument(
        "--recipe",
        help="name of a recipe, or a YAML file (default: a recipe to fine-tune --model on the data)",
    )
    add_old_names(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/<recipe or model>)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of processes that load images, for each GPU (default: up to 8; 1 without a GPU)",
    )
    parser.add_argument(
        "--num_classes",
        type=int,
        metavar="N",
        help="number of classes (default: that of the data, or else of the model)",
    )
    add_options(
        parser,
        recipe_keys(),
        "keys of the recipe, each replaces the value of the recipe; the defaults are those of keys that a recipe lacks",
        moved_keys(),
    )
    for key in ("pretrained", "pretrained_backbone"):  # old keys of recipes, replaced by start
        parser.add_argument(f"--{key}", type=yaml_value, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    from ..data.reading import Reading
    from ..options import build
    from ..recipes.recipe import default_recipe, load_recipe, read_overrides
    from ..tasks.task import get_task

    keys = overridden_keys(options)
    overrides = read_overrides(keys)
    if options.recipe:
        recipe = load_recipe(options.recipe, **overrides)
        splits = open_splits(recipe.data, recipe.model, recipe.start, recipe.model_options.get("num_classes"))
    elif "model" in overrides:
        num_classes = overrides.get("model_options", {}).get("num_classes")
        reading = build(Reading, overrides, block="data.")
        splits = open_splits(reading, overrides["model"], overrides.get("start", ""), num_classes)
        # The number of steps depends on the number of images.
        recipe = default_recipe(images=len(splits["train"]), **overrides)
    else:
        raise ValueError("pass --model NAME to fine-tune a model on your own data, or --recipe NAME")
    train_set, val_set = splits.values()
    recipe = dataclasses.replace(recipe, data=train_set.reading)
    root = train_set.reading.root
    get_task(recipe.task).check(splits, None, root, training=True)
    _say(f"{root}: {train_set.format}, {len(train_set)} images to train on, {len(val_set)} to evaluate")
    try:
        from torch import cuda

        from ..train.allocator import keep_freed_memory
        from ..train.failures import goes_on
        from ..train.loop import train
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs the package {error.name!r}: pip install 'srzoo[train]'") from error
    if not cuda.is_available():
        keep_freed_memory()
    out = options.out or Path("runs") / Path(options.recipe or keys["model"]).stem
    prepare_folder(out)
    _say(f"{summary(recipe)}; all of the recipe is in {out / 'recipe.yaml'}")
    workers = default_workers() if options.workers is None else options.workers
    try:
        figure = train(recipe, train_set, val_set, out, workers)
    except KeyboardInterrupt as error:
        error.args = (goes_on(out),)
        raise
    _say(f"val {get_task(recipe.task).headline} {figure:.2%}; the model is {out / 'model.safetensors'}")
    return 0


def _say(text: str) -> None:
    """Print a text in the main process only."""
    if is_main_process():
        print(text)


def default_workers() -> int:
    """1 on a CPU, where training is slower than loading; for each GPU its share of the CPU cores, but at most 8."""
    from torch import cuda

    if not cuda.is_available():
        return 1
    return max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def overridden_keys(options: argparse.Namespace) -> dict:
    """The keys of the recipe that were given on the command line."""
    from ..recipes.recipe import moved_keys, recipe_keys

    overrides = given_options(options, recipe_keys(), moved_keys())
    overrides |= {key: vars(options)[key] for key in ("pretrained", "pretrained_backbone") if key in options}
    given = overrides.get("model_options", {})
    if options.num_classes is not None and isinstance(given, Mapping):  # otherwise reading it raises an error
        overrides["model_options"] = {**given, "num_classes": options.num_classes}
    return overrides


def open_splits(reading: Reading, model: str, start: str, num_classes: int | None) -> dict[str, ImageData]:
    """Open the splits "train" and "val".

    Args:
        reading: which dataset it is, and how it is read.
        model: name of the model.
        start: the recipe's start, whose file may say how many classes there are.
        num_classes: number of classes; None for that of the data, or else of the model.

    Raises:
        ValueError: the dataset cannot be opened, or neither data nor model has a number of classes.
    """
    from ..data.opening import open_dataset
    from ..zoo.info import task_of

    given = reading.given()
    check_root(given)
    splits = {
        split: open_dataset(split=split, num_classes=num_classes, task=task_of(model), **given)
        for split in ("train", "val")
    }
    if num_classes is None and splits["train"].labels is None:
        root = reading.root
        of_model = own_classes(model, start)
        if of_model is None:
            raise ValueError(
                "unknown number of classes; pass --num_classes N, or write their names to "
                f"{Path(root, 'classes.txt')}, one per line; `srzoo data check {root}` counts them"
            )
        return open_splits(reading, model, start, of_model)
    return splits


def own_classes(model: str, start: str) -> int | None:
    """The number of classes of a model, by its file or its name; None for an architecture without a dataset."""
    from ..zoo.datasets import DATASETS
    from ..zoo.info import task_of
    from ..zoo.registry import split_name
    from ..zoo.weights import holds_model, read_config

    if holds_model(start):
        return len(read_config(start).classes)
    dataset = split_name(model)[1]
    return None if dataset is None else len(DATASETS[dataset].labels[task_of(model)].classes)


def summary(recipe: Recipe) -> str:
    """The most important keys of a recipe with their values."""
    keys = ("model", "start", "epochs", "steps", "batch_size", "short_side", "lr")
    chosen = {key: getattr(recipe, key) for key in keys}
    return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)
