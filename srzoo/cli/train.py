"""Train a model by a recipe or on your own data; a run that was stopped resumes from its checkpoint."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluate.distributed import is_main_process
from .arguments import add_options, given_options, yaml_value
from .data_options import add_data_arguments
from .outputs import prepare_folder

if TYPE_CHECKING:
    from ..data.samples import ImageData
    from ..recipes.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..recipes.recipe import moved_keys, recipe_keys

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
    add_options(parser, recipe_keys(), "keys of the recipe, to be set differently", moved_keys())
    for key in ("pretrained", "pretrained_backbone"):  # of the first recipes, now start
        parser.add_argument(f"--{key}", type=yaml_value, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    from ..recipes.recipe import default_recipe, load_recipe
    from ..tasks.task import get_task

    overrides = overridden_keys(options)
    model = overrides.pop("model", None)
    if options.recipe:
        recipe = load_recipe(options.recipe, **overrides, **({"model": model} if model else {}))
        splits = open_splits(options, recipe.model, recipe.start, recipe.model_options.get("num_classes"))
    elif model:
        # The length of the run depends on how many images there are, and those on the model's classes.
        draft = default_recipe(model, 1, **overrides)
        splits = open_splits(options, draft.model, draft.start, draft.model_options.get("num_classes"))
        recipe = default_recipe(model, len(splits["train"]), **overrides)
    else:
        raise ValueError("give --model NAME to fine-tune on your own data, or --recipe NAME")
    get_task(recipe.task).check(splits, None, options.root, training=True)
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
    out = options.out or Path("runs") / Path(options.recipe or model).stem
    prepare_folder(out)
    _say(f"{summary(recipe)}; all of the recipe is in {out / 'recipe.yaml'}")
    workers = default_workers() if options.workers is None else options.workers
    try:
        figure = train(recipe, train_set, val_set, out, workers)
    except KeyboardInterrupt:
        is_kept = (out / "checkpoint.pt").is_file()
        said = f"resumes from the last checkpoint in {out}" if is_kept else "starts again: there was no checkpoint yet"
        raise KeyboardInterrupt(f"the same command {said}") from None
    _say(f"val {get_task(recipe.task).headline} {figure:.2%}; the model is {out / 'model.safetensors'}")
    return 0


def _say(text: str) -> None:
    """Print it, in one of the processes."""
    if is_main_process():
        print(text)


def default_workers() -> int:
    """One on a CPU, where training is slower than loading; on a GPU its share of the cores, up to 8."""
    from torch import cuda

    if not cuda.is_available():
        return 1
    return max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def overridden_keys(options: argparse.Namespace) -> dict:
    """The recipe's keys that were given on the command line."""
    from ..recipes.recipe import moved_keys, recipe_keys

    overrides = given_options(options, recipe_keys(), moved_keys())
    overrides |= {key: vars(options)[key] for key in ("pretrained", "pretrained_backbone") if key in options}
    given = overrides.get("model_options", {})
    if options.num_classes is not None and isinstance(given, Mapping):  # else its own error comes when it is read
        overrides["model_options"] = {**given, "num_classes": options.num_classes}
    return overrides


def open_splits(options: argparse.Namespace, model: str, start: str, num_classes: int | None) -> dict[str, ImageData]:
    """The splits to train and evaluate on, for a model of so many classes."""
    from ..data.opening import open_dataset
    from ..zoo.info import task_of

    splits = {
        split: open_dataset(options.root, split, options.format, num_classes, options.id_map, task=task_of(model))
        for split in ("train", "val")
    }
    if num_classes is None and splits["train"].labels is None:
        of_model = own_classes(model, start)
        if of_model is None:
            raise ValueError(
                f"how many classes? pass --num_classes N, or name them in {Path(options.root, 'classes.txt')}, one a "
                f"line; `srzoo data check {options.root}` counts them"
            )
        return open_splits(options, model, start, of_model)
    return splits


def own_classes(model: str, start: str) -> int | None:
    """How many classes a model has in its file or by its name; None for an architecture without a dataset."""
    from ..zoo.datasets import DATASETS
    from ..zoo.info import task_of
    from ..zoo.registry import split_name
    from ..zoo.weights import holds_model, read_config

    if holds_model(start):
        return len(read_config(start).classes)
    dataset = split_name(model)[1]
    return None if dataset is None else len(DATASETS[dataset].labels[task_of(model)].classes)


def summary(recipe: Recipe) -> str:
    """The keys of a recipe that say most."""
    keys = ("model", "start", "epochs", "steps", "batch_size", "short_side", "lr")
    chosen = {key: getattr(recipe, key) for key in keys}
    return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)
