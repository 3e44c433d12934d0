"""Train a model by a recipe or on your own data; a stopped run resumes from its checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluate.distributed import is_main_process
from ..messages import importing
from ..tasks.allocator import keep_freed_memory
from .arguments import add_options, given_options, path_argument, yaml_value
from .data_options import add_old_names
from .outputs import output_folder

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe
    from ..train.api import TrainedRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..recipes.recipe import model_option_hint, moved_keys, recipe_keys

    parser.hint = model_option_hint
    parser.add_argument(
        "--recipe",
        help="name of a recipe, or a YAML file (default: a recipe to fine-tune --model on the data)",
    )
    add_old_names(parser)
    parser.add_argument(
        "--out", type=path_argument, metavar="DIR", help="folder of the run (default: runs/<recipe or model>)"
    )
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
    from ..data.reading import Reading, check_root
    from ..options import build
    from ..recipes.recipe import default_recipe, load_recipe, read_overrides
    from ..tasks.task import get_task
    from ..train.splits import channels_of, open_splits

    keys = overridden_keys(options)
    overrides = read_overrides(keys)
    if options.recipe:
        recipe = load_recipe(options.recipe, **overrides)
        check_root(recipe.data.given())
        channels = channels_of(recipe.model_options, recipe.start)
        num_classes = recipe.model_options.get("num_classes")
        splits = open_splits(recipe.data, recipe.model, recipe.start, num_classes, channels)
    elif "model" in overrides:
        model_options, start = overrides.get("model_options", {}), overrides.get("start", "")
        channels = channels_of(model_options, start)
        reading = build(Reading, overrides, block="data.")
        check_root(reading.given())
        splits = open_splits(reading, overrides["model"], start, model_options.get("num_classes"), channels)
        # The number of steps depends on the number of images.
        recipe = default_recipe(images=len(splits["train"]), **overrides)
    else:
        raise ValueError("pass --model NAME to fine-tune a model on your own data, or --recipe NAME")
    train_set, val_set = splits.values()
    recipe = dataclasses.replace(recipe, data=train_set.reading)
    root = train_set.reading.root
    get_task(recipe.task).check(splits, None, root, training=True)
    _say(f"{root}: {train_set.format}, {len(train_set)} images to train on, {len(val_set)} to evaluate")
    with importing("training needs", "'srzoo[train]'"):
        from torch import cuda

        from ..train import loop  # noqa: F401 (imported before anything is written)
        from ..train.api import run_recipe
        from ..train.failures import goes_on
    if not cuda.is_available():
        keep_freed_memory()
    out = options.out or Path("runs") / run_name(options.recipe or keys["model"])
    with output_folder(out) if is_main_process() else contextlib.nullcontext():
        _say(f"{summary(recipe)}; {out} gets all of the recipe, in recipe.yaml")
        try:
            trained = run_recipe(recipe, splits, out, options.workers)
        except KeyboardInterrupt as error:
            error.args = (goes_on(out),)
            raise
    if is_main_process():  # which alone has written the log that this reads
        is_measured = not math.isnan(trained.value)
        figure = f"val {trained.headline} {trained.value:.2%}" if is_measured else "nothing in val is annotated"
        print(f"{figure}; the model is {trained.last}{_better_epoch(trained)}")
    return 0


def _better_epoch(trained: TrainedRun) -> str:
    """Which earlier epoch had a higher figure; empty if none had."""
    figures = ((row, row.get(trained.headline)) for row in trained.history)
    measured = [row for row, figure in figures if figure is not None and not math.isnan(figure)]
    best = max(measured, key=lambda row: row[trained.headline], default=None)
    if best is None or best[trained.headline] <= trained.value:
        return ""
    return f"; epoch {best['epoch']:.0f} had {best[trained.headline]:.2%}: {trained.best}"


def _say(text: str) -> None:
    """Print a text in the main process only."""
    if is_main_process():
        print(text)


def overridden_keys(options: argparse.Namespace) -> dict:
    """The keys of the recipe that were given on the command line."""
    from ..recipes.recipe import moved_keys, recipe_keys

    overrides = given_options(options, recipe_keys(), moved_keys())
    overrides |= {key: vars(options)[key] for key in ("pretrained", "pretrained_backbone") if key in options}
    given = overrides.get("model_options", {})
    if options.num_classes is not None and isinstance(given, Mapping):  # otherwise reading it raises an error
        overrides["model_options"] = {**given, "num_classes": options.num_classes}
    return overrides


def run_name(source: str) -> str:
    """The name of a run's folder by its recipe or model; that of a run's model is named after the other run."""
    from ..zoo.run_files import OLD_RUN_FILE, RUN_FILES

    path = Path(source)
    return f"{path.absolute().parent.name}_tuned" if path.name in (OLD_RUN_FILE, *RUN_FILES) else path.stem


def summary(recipe: Recipe) -> str:
    """The most important keys of a recipe with their values."""
    keys = ("model", "start", "epochs", "steps", "batch_size", "short_side", "lr")
    chosen = {key: getattr(recipe, key) for key in keys}
    return ", ".join(f"{key} {value}" for key, value in chosen.items() if value is not None)
