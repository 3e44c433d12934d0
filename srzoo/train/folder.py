"""The folder of a run: it belongs to one run, and at any time to one process."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from ..data.samples import ImageData
from ..evaluate.distributed import is_main_process
from ..files import LockedError, locked, made_folder, remove_leftovers, replacing
from ..messages import shortened
from ..recipes.recipe import Recipe, load_recipe
from ..zoo.run_files import OLD_RUN_FILE, RUN_FILES
from ..zoo.weights import read_run_recipe
from .content import changed_files
from .failures import CHECKPOINT, not_written

_LOCK, _RECIPE = ".srzoo-lock", "recipe.yaml"


@contextmanager
def own_folder(out: Path) -> Iterator[None]:
    """Context manager that makes the folder of a run, and locks it in the main process.

    Raises:
        OSError: another process trains in it, or it cannot be made.
    """
    with ExitStack() as stack:
        if is_main_process():
            stack.enter_context(made_folder(out))  # which leaves none of a run that is refused
            try:
                stack.enter_context(locked(out / _LOCK, wait=False))
            except LockedError as error:
                raise OSError(
                    f"another process trains in {out}; wait until it has ended, or choose another output folder"
                ) from error
            remove_leftovers(out)
        yield


def refuse_other_run(out: Path, recipe: Recipe) -> None:
    """Check that a new run would replace nothing in its folder that is not its own.

    A run of the same recipe that was killed before its first checkpoint may have left files.

    Raises:
        ValueError: there is a file of another origin.
    """
    found = next((name for name in (OLD_RUN_FILE, *RUN_FILES, "log.csv") if (out / name).exists()), None)
    if found is not None and not any(
        _stored_recipe(out / name) == recipe.to_yaml() for name in (OLD_RUN_FILE, *RUN_FILES)
    ):
        raise _other_origin(out, found)
    path = out / _RECIPE
    if path.exists() and _as_written(path) is None and not _is_of(path, recipe):
        raise _other_origin(out, _RECIPE)


def rename_old_file(out: Path) -> None:
    """Give the model of the last epoch its present name, in the folder of a run that an older version started."""
    old, last = out / OLD_RUN_FILE, out / RUN_FILES[0]
    if old.exists() and not last.exists():
        old.rename(last)


def _other_origin(out: Path, name: str) -> ValueError:
    return ValueError(
        f"{out / name} is not of this run, as {out} has no {CHECKPOINT} to resume from, and would be replaced; choose "
        "another output folder, or move the file"
    )


def _stored_recipe(path: Path) -> str | None:
    try:
        return read_run_recipe(path)
    except (ValueError, OSError):
        return None


def _as_written(path: Path) -> Recipe | None:
    """The recipe in a file, if srzoo wrote it and nobody has edited it; else None."""
    recipe = _recipe_in(path)
    return recipe if recipe is not None and path.read_text() == recipe.to_yaml() else None


def _recipe_in(path: Path) -> Recipe | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about the old names of keys
            return load_recipe(path)
    except (ValueError, OSError):
        return None


def _is_of(path: Path, recipe: Recipe, wherever: bool = False) -> bool:
    """Whether a file holds a recipe, however it is written; with ``wherever``, its data may lie elsewhere."""
    found = _recipe_in(path)
    if found is not None and wherever:
        found = dataclasses.replace(found, data=recipe.data)
    # As YAML, which knows no tuples.
    return found is not None and yaml.safe_load(found.to_yaml()) == yaml.safe_load(recipe.to_yaml())


def keep_recipe(out: Path, recipe: Recipe, is_adjusted: bool = False) -> None:
    """Write the recipe of a run, unless its file holds it already.

    Args:
        out: the folder of the run.
        recipe: the recipe.
        is_adjusted: whether it is another one than the run was started with, as far as that is allowed.

    Raises:
        OSError: it cannot be written.
    """
    path = out / _RECIPE
    if _is_of(path, recipe):
        return
    is_started = path.exists() and (out / CHECKPOINT).exists()
    if is_started and not is_adjusted and not _is_of(path, recipe, wherever=True):
        warnings.warn(f"{path} was edited; it gets the recipe that the run was started with again", stacklevel=1)
    try:
        with replacing(path) as partial:
            partial.write_text(recipe.to_yaml())
    except OSError as error:
        raise not_written(path, error, 1 << 14) from error


def compare_facts(out: Path, state: Mapping, facts: Mapping, splits: Mapping[str, ImageData]) -> None:
    """Compare what a checkpoint was made with to what is there now, as far as the checkpoint holds it.

    Args:
        out: the folder of the run.
        state: the content of the checkpoint.
        facts: what `srzoo.train.run.write_checkpoint` stores beside the state, for this machine and these files.
        splits: the datasets by the name of their split.

    Raises:
        ValueError: files that the run is trained on were changed.
    """
    before = state.get("content", {})
    for split, data in splits.items():
        changed = changed_files(data, before[split], facts["content"][split]) if split in before else ""
        if changed and split == "train":
            raise ValueError(
                f"{out / CHECKPOINT} was made with other data, as these were changed since: {changed}; train in "
                f"another output folder, from the weights of this run with --start {out / RUN_FILES[0]}, or anew"
            )
        if changed:
            warnings.warn(
                f"of {split}, these were changed since the run was started: {changed}; its figures until now are of "
                "the former files, measure the model again with `srzoo eval`",
                stacklevel=1,
            )
    precision = state.get("precision", facts["precision"])
    if precision != facts["precision"]:
        warnings.warn(
            f"the run until now was computed with precision {shortened(precision)}, and goes on with "
            f"{facts['precision']!r}, which is what 'auto' means on this machine",
            stacklevel=1,
        )
