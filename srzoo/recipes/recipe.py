"""Recipes of training runs, from the YAML files beside this module or from those of users."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from ..data.reading import Reading
from ..messages import nearest, one_line, shortened
from ..options import build, check, documented, full_names, keys, merged, option, read, renamed
from ..tasks.task import TASKS, get_task
from ..untrusted.values import Value, bounded
from ..zoo import registry
from ..zoo.config import MAX_SHORT_SIDE
from ..zoo.foreign.download import DOWNLOADED
from ..zoo.info import task_of
from ..zoo.published import PUBLISHED, file_of
from ..zoo.weights import holds_model, is_model_file, read_config, read_run_recipe

STARTS = ("published", "imagenet", "random")
# Of `default_recipe`: steps for a few hundred images, and a limit for fewer images, on which more steps overfit.
_STEPS, _MAX_EPOCHS, _BATCH_SIZE = 3000, 300, 4


@documented
@dataclass(kw_only=True)
class Recipe:
    """How to train a model: the keys that all tasks have, ``data``, and ``options``, the block of the model's task.

    Sizes are in pixels, rates are per step, shares are fractions.
    """

    model: str = option(
        "name of the model, see `srzoo list`; or one of srzoo's .safetensors files, to start from its weights"
    )
    start: str = option(
        "weights to start from: published (those of this model), imagenet (for its backbone), random, the name of a "
        "model with published weights, or a file that holds one of srzoo's models, or a backbone with timm's names "
        "under any prefix, such as encoder.",
        "imagenet",
    )
    batch_size: int = option("images per step, over all processes", low=1, high=1 << 16)
    lr: float = option("learning rate of the head; see backbone_lr_scale for the backbone", low=0)
    epochs: int | None = option("length of the run in epochs of ``images // batch_size`` steps", None, low=1)
    steps: int | None = option("length of the run in steps, instead of epochs", None, low=1)
    short_side: int | None = option(
        "short side in pixels of an image at factor 1, and in the transform of the trained model; by default the size "
        "of the image, and the short side of the model",
        None,
        low=1,
        high=MAX_SHORT_SIDE,
    )
    mean: tuple[float, ...] = option(
        "mean of each channel of the images, in 0..1, in the transform of the trained model; by default the model's",
        (),
        low=0,
        high=1,
    )
    std: tuple[float, ...] = option(
        "standard deviation of each channel of the images, given together with mean", (), low=1e-4, high=1
    )
    model_options: dict = option("keyword arguments of `create_model`", dict)
    optimizer: Literal["adamw", "sgd"] = option("the optimizer", "adamw")
    momentum: float = option("momentum of sgd", 0.9, low=0, high=1)
    backbone_lr_scale: float = option("factor on lr for the backbone", 1.0, low=0)
    weight_decay: float = option("weight decay of all parameters but norms and biases", 0.01, low=0)
    warmup_epochs: float = option("length of the linear warm-up in epochs", 1.0, low=0)
    schedule: Literal["poly", "cosine", "step", "constant"] = option(
        "the learning rate after the warm-up: poly, cosine, step (a tenth after each of milestones) or constant", "poly"
    )
    power: float = option("exponent of the poly schedule after the warm-up", 0.9, low=0)
    milestones: tuple[float, ...] = option(
        "epochs after which the learning rate falls to a tenth, instead of the poly schedule; for schedule step",
        (),
        low=0,
    )
    clip_norm: float | None = option("greatest L2 norm of the gradient, which is scaled down to it", None, low=0)
    ema_decay: float = option(
        "decay of the averaged weights, which are evaluated and saved; 0 for no average", 0.995, low=0, high=1
    )
    freeze: Literal["no", "norms", "backbone"] = option(
        "which parts of the backbone are frozen: no for none, norms for the running statistics of its BatchNorms, or "
        "backbone for these and all of its weights",
        "no",
    )
    reset: tuple[str, ...] = option(
        "modules that get new weights, whatever the start has for them, such as head.context or classifier", ()
    )
    patience: int | None = option(
        "end the run after this many evaluations without a better figure; best.safetensors holds the best",
        None,
        low=1,
    )
    repeat_threshold: float = option(
        "classes that are in fewer than this share of the images are seen more often, by repeat-factor sampling "
        "(Gupta et al., LVIS, 2019); an epoch has as many images as without; 0 for every image once an epoch",
        0.0,
        low=0,
        high=1,
    )
    precision: Literal["auto", "bf16", "fp16", "no"] = option(
        "mixed precision: bf16, fp16, no for float32, or auto for the fastest on this machine; a step takes about half "
        "the memory in bf16",
        "auto",
    )
    accumulate: int = option(
        "number of parts in which a batch is computed one after the other, to save memory; BatchNorm takes its "
        "statistics from each part alone, so the model differs from one that is trained on whole batches",
        1,
        low=1,
        high=1 << 16,
    )
    compile: bool = option("compile the model with ``torch.compile``", False)
    evaluate_every: int = option("number of epochs between evaluations on val", 8, low=1)
    trackers: tuple[str, ...] = option(
        "services that Accelerate also sends the log to, such as wandb or mlflow; their package must be installed", ()
    )
    seed: int = option("seed of initialization, order and augmentation", 0, low=0, high=(1 << 32) - 1)
    data: Reading = dataclasses.field(default_factory=Reading)
    options: Any = None

    def __post_init__(self):
        check(self)
        _check_model_options(self.model_options)
        if not self.start.strip():
            raise ValueError(f"start must be {', '.join(STARTS)}, the name of a model or a file, got {self.start!r}")
        if self.clip_norm == 0:  # the gradient would be zero, and nothing be learned
            raise ValueError("clip_norm must be above 0, got 0; leave it out for no limit")
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"epochs or steps must be given, and not both; got epochs={self.epochs} and steps={self.steps}"
            )

        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} values and std {len(self.std)}; give both, a value for each channel"
            )
        if (self.schedule == "step" and not self.milestones) or (
            self.schedule in ("cosine", "constant") and self.milestones
        ):
            raise ValueError(
                f"schedule {self.schedule} {'needs' if self.schedule == 'step' else 'takes no'} milestones, "
                f"got milestones={list(self.milestones)}; they are the epochs of schedule step"
            )

    @property
    def task(self) -> str:
        """The name of the model's task."""
        return task_of(self.model)

    @classmethod
    def from_dict(cls, values: Mapping) -> Recipe:
        """Make a recipe from its keys.

        Args:
            values: what `to_dict` returned, or keys as in the ``overrides`` of `load_recipe`.

        Raises:
            ValueError: a key is unknown or missing, or its value is invalid.
        """
        return _recipe(_given(values, "recipe"), "recipe")

    def to_dict(self) -> dict[str, Any]:
        """All keys, with those of the task in a block under its name, as in a YAML file."""
        values = dataclasses.asdict(self)
        options, values["data"] = values.pop("options"), self.data.given()
        return {**values, self.task: options}

    def flat(self) -> dict[str, Any]:
        """All keys by their full names, such as ``semantic.crop``."""
        return read(recipe_keys(), self.to_dict())

    def to_yaml(self) -> str:
        """All keys as a YAML file, which `load_recipe` reads."""
        return yaml.dump(self.to_dict(), Dumper=_Dumper, sort_keys=False, default_flow_style=None)


# Arguments of `create_model` that other keys of a recipe set.
_ELSEWHERE = {"name": "model", "pretrained": "start", "pretrained_backbone": "start", "labels": "the dataset's classes"}


def _check_model_options(options: Mapping) -> None:
    for name, value in Value(options, "model_options").keys(64).items():
        if name in _ELSEWHERE:
            raise ValueError(f"model_options takes no {name}, which follows from {_ELSEWHERE[name]}; leave it out")
        value.plain()


class _Dumper(yaml.SafeDumper):
    """Writes tuples as lists."""


_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def recipe_keys() -> type:
    """The keys of a recipe file as a dataclass: the common ones, and a block for each task."""
    return _keys(tuple((name, get_task(name).Options) for name in TASKS))


@functools.cache
def _keys(blocks: tuple[tuple[str, type], ...]) -> type:
    return dataclasses.make_dataclass("RecipeKeys", blocks, bases=(Recipe,), kw_only=True)


def moved_keys() -> dict[str, str]:
    """The new name of each key that version 0.1 had outside the block of its task: ``crop`` is ``semantic.crop``."""
    return {name: f"semantic.{name}" for name in full_names(get_task("semantic").Options)}


# Keys of version 0.1 that ``start`` has replaced.
_REPLACED = ("pretrained", "pretrained_backbone")


_PACKAGED = resources.files("srzoo.recipes")


def list_recipes() -> list[str]:
    """The names that `load_recipe` accepts: all models with a dataset, and the files of the package."""
    files = {path.name.removesuffix(".yaml") for path in _PACKAGED.iterdir() if path.name.endswith(".yaml")}
    return sorted(files | {name for name in registry.names() if registry.split_name(name)[1]})


def recipe_file(name: str) -> Path:
    """The YAML file of a recipe's name: the file of this name, or else that of the model's dataset.

    Raises:
        ValueError: there is no such recipe.
    """
    own = _PACKAGED / f"{name}.yaml"
    if own.is_file():
        return own
    try:
        architecture, dataset = registry.split_name(name)
    except ValueError:
        dataset = None
    if dataset is None:
        raise ValueError(
            f"no recipe {name!r}{nearest(name, list_recipes())}; pass a YAML file, or the name of a model with its "
            "dataset, such as srnet_lite0_camvid, or of a dataset, such as cityscapes"
        )
    return _PACKAGED / f"{registry.recipe_of(architecture, dataset)}.yaml"


def load_recipe(source: str | Path, **overrides) -> Recipe:
    """Read a recipe.

    A file can name another recipe as its ``base``, by its name or by its path from the file; it then holds only the
    keys that differ from it. A model without a file of its own name is trained by the recipe of its dataset.

    Args:
        source: the path of a YAML file, or a name: that of a model with its dataset, or a file of the package.
        **overrides: keys that replace those of the file, such as ``lr=0.01``. Those of the task are given as
            ``semantic={"crop": 320}`` or ``**{"semantic.crop": 320}``.

    Raises:
        ValueError: there is no such file or name, a key is unknown or missing, or its value is invalid.
    """
    return _recipe(_overridden(_read(source), read_overrides(overrides)), f"recipe {source}")


def read_overrides(values: Mapping) -> dict[str, Any]:
    """The keys of a recipe in ``values`` by their full names, as their types.

    Its result can be passed to `load_recipe` and `default_recipe` in place of ``values``, for those who need a key
    before they have the recipe.

    Args:
        values: the ``overrides`` of those two. A file as ``model`` becomes its model's name, and ``start``.

    Raises:
        ValueError: a key is unknown, or its value is invalid.
    """
    return _given(values, "recipe")


def default_recipe(model: str, images: int, **overrides) -> Recipe:
    """A recipe to fine-tune any model on other images.

    Args:
        model: a name for `create_model`, or the path of one of srzoo's ``.safetensors`` files to start from.
        images: number of images to train on.
        **overrides: keys that replace the defaults, as for `load_recipe`.

    Raises:
        ValueError: there is no such model, or an override is invalid.
    """
    given = read_overrides({**overrides, "model": model})
    name = given["model"]
    if holds_model(file := file_of(given.get("start", ""))):
        short_side = read_config(file).transform.short_side
    else:
        short_side = registry.default_transform(*registry.split_name(name)).short_side
    steps_per_epoch = max(1, images // given.get("batch_size", _BATCH_SIZE))
    asked = given.get("steps") or steps_per_epoch * (given.get("epochs") or 0)
    steps = asked or min(_STEPS, _MAX_EPOCHS * steps_per_epoch)
    epochs = steps / steps_per_epoch
    values = {
        "model": name,
        "start": "published" if name in PUBLISHED or name in DOWNLOADED else "imagenet",
        "batch_size": _BATCH_SIZE,
        "lr": 1e-3,
        "steps": steps,
        "short_side": short_side,
        "backbone_lr_scale": 0.1,
        "warmup_epochs": epochs / 20,
        "evaluate_every": max(1, round(epochs / 10)),
        task_of(name): get_task(task_of(name)).fine_tuning(),
    }
    return _recipe(_overridden(_given(values, "recipe"), given), "recipe")


def parse_recipe(text: str, where: str) -> Recipe:
    """The recipe that `Recipe.to_yaml` wrote, which has no base.

    Args:
        text: the YAML.
        where: prefix of errors, such as the name of the file.

    Raises:
        ValueError: a key is unknown or missing, or its value is invalid.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about the old names of keys
        return _recipe(_given(_parsed(text.encode(), where), where), where)


def reading_of(model: str | Path) -> Reading:
    """How the data was read that a model was trained on, if it is a file of a run, which tells it."""
    try:
        stored = read_run_recipe(model)
        return parse_recipe(stored, f"the recipe in {model}").data if stored else Reading()
    except (ValueError, OSError):
        return Reading()


_LARGEST = 1 << 20  # bytes of a file


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    """The keys and values in the YAML of a recipe.

    Raises:
        ValueError: it is no YAML, or no mapping, or holds too much; the message starts with ``where``.
    """
    try:
        values = yaml.safe_load(content.decode())
    except RecursionError:
        raise ValueError(f"{where} is not a recipe: it is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bytes that are not UTF-8, or a number without end
        raise ValueError(f"{where} is not YAML ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not a recipe, which is a mapping of keys to values")
    bounded(values, where, depth=8, parts=10_000)
    return values


def _read(source: str | Path, based_on_it: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a recipe and of those that it is based on; ``based_on_it`` are the files that have led to it."""
    path = Path(source)
    named = {}
    if not path.is_file():
        path = recipe_file(str(source))
        if path.stem != str(source):
            named = {"model": str(source)}
    if path.resolve() in based_on_it:
        raise ValueError(f"{path} is its own base; a chain of recipes must end with one that has no base")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is not a recipe: it has more than {_LARGEST:,} bytes")
    values = _parsed(path.read_bytes(), str(path))
    base = values.pop("base", None)
    if not isinstance(base, str | None):
        raise ValueError(f"{path}: base must be the name or the file of a recipe, got {shortened(base)}")
    found = _given(values, f"recipe {path}") | named
    if base is None:
        return found
    beside = path.parent / base  # a user's file is found whatever the current folder is
    return _overridden(_read(beside if beside.is_file() else base, (*based_on_it, path.resolve())), found)


def _given(values: Mapping, where: str) -> dict[str, Any]:
    """The keys in ``values`` by their full names; old names are replaced, and a file as ``model`` becomes ``start``."""
    values, said = renamed(values, moved_keys())
    if old := [key for key in _REPLACED if key in values]:
        start = _start_of(values, where)
        values = {key: value for key, value in values.items() if key not in old}
        if start is None:
            now = f"start ({', '.join(STARTS)} or a file), which false does not change"
        else:
            now, values = f"start, here {start!r}", {**values, "start": start}
        said = [f"{' and '.join(old)} is now {now}", *said]
    if said:
        warnings.warn(f"{where}: {', '.join(said)}; the old spelling still works", FutureWarning, stacklevel=4)
    if is_model_file(file := values.get("model")):
        name = read_config(file).name
        if values.get("start", file) != file:
            raise ValueError(
                f"{where}: model {file} is a file of weights, which start={values['start']!r} would ignore; leave "
                f"start out, or use model {name}"
            )
        values = {**values, "model": name, "start": file}
    for name in values:
        if hint := model_option_hint(str(name)):
            raise ValueError(f"{where}: unknown key {shortened(name)}{hint}")
    return read(recipe_keys(), values, where)


def model_option_hint(name: str) -> str:
    """How an option of a network is given in a recipe, for the end of an error; empty if it is none, or is a key.

    Args:
        name: such as ``in_channels`` or ``context``.
    """
    name = _TIMM_NAMES.get(name, name)
    if not name.isidentifier() or name in keys(recipe_keys()) or name in moved_keys():
        return ""
    from ..zoo.factory import network_options  # imports torch

    return f"; it is an option of the model: model_options: {{{name}: ...}}, or --model_options '{{{name}: ...}}'" * (
        name in network_options()
    )


_TIMM_NAMES = {"in_chans": "in_channels", "in_ch": "in_channels"}


def _start_of(values: Mapping, where: str) -> str | None:
    """The value of ``start`` that replaces ``pretrained`` and ``pretrained_backbone``; None if they ask for none."""
    is_pretrained, backbone = values.get("pretrained", False), values.get("pretrained_backbone")
    if not isinstance(is_pretrained, bool):
        raise ValueError(f"{where}: pretrained must be true or false, got {is_pretrained!r}")
    if not isinstance(backbone, bool | str | None):
        raise ValueError(f"{where}: pretrained_backbone must be true, false or a file, got {backbone!r}")
    if "start" in values:
        raise ValueError(f"{where}: start replaces {' and '.join(_REPLACED)}; leave them out")
    if is_pretrained and backbone not in (None, True):
        raise ValueError(
            f"{where}: pretrained=True and pretrained_backbone={backbone!r} name two backbones; use start instead: "
            "published, imagenet, random or a file"
        )
    if is_pretrained:
        return values["model"] if is_model_file(values.get("model", "")) else "published"
    model = values.get("model", "")
    if backbone is None and not (is_model_file(model) or model in PUBLISHED or model in DOWNLOADED):
        return None  # there are no weights that false would leave out
    return {None: "imagenet", True: "imagenet", False: "random"}.get(backbone, backbone)


def _recipe(found: Mapping[str, Any], where: str) -> Recipe:
    """The recipe of these keys.

    Raises:
        ValueError: a key is missing, belongs to another task, or does not fit the others.
    """
    if "model" not in found:  # its task says which block is needed
        raise ValueError(f"{where} has no model: add it to the file, or pass --model VALUE")
    task = task_of(found["model"])
    foreign = [name for name in found if "." in name and not name.startswith((f"{task}.", "data."))]
    if foreign:
        raise ValueError(f"{where}: {foreign[0]} does not belong to {task}, the task of {found['model']}; leave it out")
    return build(Recipe, found, where, options=build(get_task(task).Options, found, where, f"{task}."))


def _overridden(found: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Combine both. An override of ``epochs`` also removes ``steps``, and the other way round."""
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if overrides.get(one) is not None:
            found = {**found, other: None}
    return merged(found, overrides)
