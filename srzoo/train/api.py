"""Training from Python, on a folder or on your own dataset. Imports torch only when it is used."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..labels import IGNORE
from ..messages import importing

if TYPE_CHECKING:
    from ..data.samples import ImageData
    from ..labels import LabelSet
    from ..models.base import ZooModel
    from ..recipes.recipe import Recipe


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: the folder of the run, with its recipe, log and checkpoint.
        headline: name of the figure that the run is judged by, such as "mIoU".
        value: this figure on val after the last step, as a fraction.
    """

    folder: Path
    headline: str
    value: float

    @property
    def last(self) -> Path:
        """The model file of the last epoch."""
        from ..zoo.run_files import RUN_FILES

        return self.folder / RUN_FILES[0]

    @property
    def best(self) -> Path:
        """The model file of the epoch with the highest figure."""
        from ..zoo.run_files import RUN_FILES

        return self.folder / RUN_FILES[1]

    @cached_property
    def model(self) -> ZooModel:
        """The model of the last epoch, in evaluation mode; ``srzoo.load_model(run.best)`` is the other one."""
        from ..zoo.factory import load_model

        return load_model(self.last).eval()

    @cached_property
    def history(self) -> list[dict[str, float | None]]:
        """A row for each epoch: step, loss, the figure on val where it was measured, learning rate, seconds, ..."""
        with (self.folder / "log.csv").open(newline="") as file:
            return [
                {name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)
            ]


def train(
    model: str | Path | ZooModel,
    train_set: Any,
    val_set: Any = None,
    *,
    out: str | Path,
    recipe: str | Path | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence | None = None,
    num_classes: int | None = None,
    void: int = IGNORE,
    workers: int | None = None,
    **keys: Any,
) -> TrainedRun:
    """Train a model on a folder or on your own dataset, as ``srzoo train`` does.

    A run that was stopped resumes when it is called again with the same arguments.

    Args:
        model: a name for `create_model`, one of srzoo's ``.safetensors`` files to start from, or a model from
            `create_model` or `load_model`, whose weights are the start and which is not changed itself.
        train_set: the folder of a dataset, as ``--data.root``; or a ``torch.utils.data.Dataset``, or anything else with
            ``len()`` and indices, whose item is ``(image, mask)`` or ``{"image": ..., "mask": ...}``. An image is an
            array ``(H, W, 3)``, a Pillow image, a path or a tensor ``(3, H, W)``, uint8 or floating in 0..1, before any
            normalization. A mask has the class id of each pixel, ``(H, W)``. For a model of instances the item is
            ``(image, target)``, as torchvision's detectors take it: ``target["masks"]`` ``(N, H, W)`` of 0 and 1,
            ``target["labels"]`` ``(N,)`` from 1 for the first class on, and maybe ``target["iscrowd"]`` ``(N,)``; boxes
            are those of the masks. Panoptic models take folders only. Sizes may differ between items. Scaling, crops,
            flips and normalization follow from the recipe.
        val_set: the images to evaluate on, of the same kind. A folder has its own, or some images are held out.
        out: the folder of the run.
        recipe: name of a recipe or a YAML file; by default a recipe to fine-tune the model.
        classes: names of the classes in order of id; a folder may name its own.
        palette: a colour for each of ``classes``, ``(r, g, b)`` or ``"#rrggbb"``.
        num_classes: their number, if they have no names; by default that of the model.
        void: the value of unlabelled pixels in the masks of an own dataset.
        workers: number of processes that load images; by default as for ``srzoo train``. An own dataset is copied to
            them, so they need one that can be pickled where processes are not forked.
        **keys: keys of the recipe, such as ``epochs=5``, ``lr=1e-3`` or ``semantic={"crop": 320}``.

    Raises:
        ValueError: an argument or a key is invalid, or model and data do not fit together.
        FileNotFoundError: there is no such file or folder.
        ImportError: a package of ``pip install 'srzoo[train]'`` is missing.

    Further errors are those of `srzoo.train.loop.train`.
    """
    from ..data.own import check_own
    from ..labels.own import labels_of
    from ..recipes.recipe import default_recipe, load_recipe, read_overrides
    from ..tasks.task import get_task
    from ..zoo.info import task_of
    from .splits import channels_of

    out = Path(out)
    overrides = read_overrides({**keys, **_named(model, out, keys)})
    name, start = overrides["model"], overrides.get("start", "")
    labels = labels_of(classes, palette, num_classes)
    channels = channels_of(overrides.get("model_options", {}), start)
    if isinstance(train_set, (str, Path)):
        if val_set is not None:
            raise ValueError("val_set goes with a dataset of your own; a folder's own images for val are used")
        splits = _of_folder(train_set, overrides, labels, channels, classes is not None)
    else:
        splits = _own(train_set, val_set, name, start, labels, void, channels)
    if recipe is None:
        chosen = default_recipe(images=len(splits["train"]), **overrides)
    else:
        chosen = load_recipe(recipe, **overrides)
    chosen = dataclasses.replace(chosen, data=splits["train"].reading)
    task = get_task(task_of(name))
    if isinstance(train_set, (str, Path)):
        task.check(splits, None, str(train_set), training=True)
    else:
        check_own(splits)
    return run_recipe(chosen, splits, out, workers)


def run_recipe(recipe: Recipe, splits: Mapping[str, ImageData], out: Path, workers: int | None = None) -> TrainedRun:
    """Run the training loop, with the default number of workers for None.

    Raises:
        ImportError: a package that training needs is missing.
    """
    from ..tasks.task import get_task

    with importing("training needs", "'srzoo[train]'"):
        from .loop import train as loop
    figure = loop(recipe, splits["train"], splits["val"], out, default_workers() if workers is None else workers)
    return TrainedRun(out, get_task(recipe.task).headline, figure)


def default_workers() -> int:
    """1 on a CPU, where training is slower than loading; for each GPU its share of the CPU cores, but at most 8."""
    import os

    from torch import cuda

    if not cuda.is_available():
        return 1
    return max(1, min(8, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def _named(model: Any, out: Path, keys: Mapping) -> dict[str, str]:
    """The keys ``model`` and maybe ``start`` for a model. One that is an object is written to the folder of the run.

    Raises:
        ValueError: it is neither, or cannot be written.
    """
    if isinstance(model, (str, Path)):
        return {"model": str(model)}
    from ..evaluate.distributed import world
    from ..models.base import check_zoo_model
    from ..zoo.factory import save_model
    from .failures import CHECKPOINT

    check_zoo_model(model, "train")
    if world() > 1:
        raise ValueError("several processes train one file: save the model with srzoo.save_model, and pass its path")
    if "start" in keys:
        raise ValueError(f"start={keys['start']!r} would replace the weights of the model; leave it out")
    file = out / "start.safetensors"
    if not (out / CHECKPOINT).exists():
        out.mkdir(parents=True, exist_ok=True)
        save_model(model, file)
    return {"model": model.config.name, "start": str(file)}


def _of_folder(
    root: str | Path, overrides: Mapping, labels: LabelSet | None, channels: int, are_named: bool
) -> dict[str, ImageData]:
    from ..data.reading import Reading
    from ..options import build
    from .splits import open_splits

    reading = build(Reading, {**overrides, "data.root": str(root)}, block="data.")
    count = None if labels is None else len(labels.classes)
    splits = open_splits(reading, overrides["model"], overrides.get("start", ""), count, channels)
    for data in splits.values():
        data.labels = labels if are_named else data.labels
    return splits


def _own(
    train_set: Any, val_set: Any, name: str, start: str, labels: LabelSet | None, void: int, channels: int
) -> dict[str, ImageData]:
    """The splits of your own dataset."""
    from ..data.own import check_own_task, own_data
    from ..zoo.info import task_of
    from .splits import labels_of as of_model

    task = task_of(name)
    check_own_task(task)
    if val_set is None:
        raise ValueError(
            "pass val_set, the images to evaluate on; torch.utils.data.random_split(dataset, [0.8, 0.2]) makes two"
        )
    labels = labels or of_model(name, start)
    if labels is None:
        raise ValueError(f"unknown number of classes of {name}; pass classes, their names, or num_classes")
    splits = {"train": train_set, "val": val_set}
    return {split: own_data(data, split, task, labels, void, channels) for split, data in splits.items()}
