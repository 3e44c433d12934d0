"""The protocol of a training run: a YAML file beside this module, or a user's own."""

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

from ..messages import nearest
from ..options import build, check, documented, full_names, merged, option, read, renamed
from ..tasks.task import TASKS, get_task
from ..zoo import registry
from ..zoo.info import task_of
from ..zoo.published import PUBLISHED
from ..zoo.weights import is_model_file, read_config

RUN_FILES = ("model.safetensors", "best.safetensors")  # of a run: after the last epoch, and after the best one
STARTS = ("published", "imagenet", "random")
# Of `default_recipe`: what a few hundred images take; fewer are learnt by heart before.
_STEPS, _MAX_EPOCHS, _BATCH_SIZE = 3000, 300, 4


@documented
@dataclass(kw_only=True)
class Recipe:
    """One training protocol: the keys that every task has, and ``options``, the block of the model's task.

    Sizes are pixels, rates are per step, shares are fractions.
    """

    model: str = option("a name from `srzoo list`")
    start: str = option(
        "where the weights come from: published (the model's own), imagenet (its backbone's), random, or a file, of "
        "one of srzoo's models or of a backbone in timm's names",
        "imagenet",
    )
    batch_size: int = option("images of a step, over all processes", low=1)
    lr: float = option("learning rate of the head", low=0)
    epochs: int | None = option("length of the run; an epoch has ``images // batch_size`` steps", None, low=1)
    steps: int | None = option("length of the run, in place of epochs", None, low=1)
    short_side: int | None = option(
        "of an image at factor 1, and of the trained model's transform; default the image's own, and the model's",
        None,
        low=1,
    )
    model_options: dict = option("keyword arguments for `create_model`", dict)
    optimizer: Literal["adamw", "sgd"] = option("adamw or sgd", "adamw")
    momentum: float = option("of sgd", 0.9, low=0, high=1)
    backbone_lr_scale: float = option("the backbone's share of lr", 1.0, low=0)
    weight_decay: float = option("of all but norms and biases", 0.01, low=0)
    warmup_epochs: float = option("of linear warm-up", 1.0, low=0)
    power: float = option("of the poly schedule after the warm-up", 0.9, low=0)
    ema_decay: float = option(
        "of the averaged weights, which are the ones evaluated and kept; 0 for none", 0.995, low=0, high=1
    )
    precision: Literal["auto", "bf16", "fp16", "no"] = option(
        "auto for what this machine is fastest in, or as Accelerate names them; bfloat16 takes about half the memory "
        "of a step",
        "auto",
    )
    accumulate: int = option("parts of a batch that are computed one after the other, to save memory", 1, low=1)
    compile: bool = option("put the model under ``torch.compile``", False)
    evaluate_every: int = option("epochs between two passes over val", 8, low=1)
    seed: int = option("of initialisation, order and augmentation", 0, low=0, high=(1 << 32) - 1)
    options: Any = None

    def __post_init__(self):
        check(self)
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"give epochs or steps, one of the two; got {self.epochs} and {self.steps}")

    @property
    def task(self) -> str:
        """The name of the model's task."""
        return task_of(self.model)

    @classmethod
    def from_dict(cls, values: Mapping) -> Recipe:
        """A recipe from its keys: from `to_dict`, or nested or dotted as `load_recipe` takes them.

        Raises:
            ValueError: a key is unknown, missing or wrong.
        """
        return _recipe(_given(values, "recipe"), "recipe")

    def to_dict(self) -> dict[str, Any]:
        """All keys, those of the task in a block under its name."""
        values = dataclasses.asdict(self)
        options = values.pop("options")
        return {**values, self.task: options}

    def flat(self) -> dict[str, Any]:
        """All keys by their full names, such as ``semantic.crop``."""
        return read(recipe_keys(), self.to_dict())

    def to_yaml(self) -> str:
        """As `load_recipe` reads it."""
        return yaml.dump(self.to_dict(), Dumper=_Dumper, sort_keys=False, default_flow_style=None)


class _Dumper(yaml.SafeDumper):
    """Tuples as lists."""


_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def recipe_keys() -> type:
    """The keys of a recipe file, as a dataclass: the common ones, and a block for each task."""
    return _keys(tuple((name, get_task(name).Options) for name in TASKS))


@functools.cache
def _keys(blocks: tuple[tuple[str, type], ...]) -> type:
    return dataclasses.make_dataclass("RecipeKeys", blocks, bases=(Recipe,), kw_only=True)


def moved_keys() -> dict[str, str]:
    """The new name of each key that stood outside the block of its task in the first recipes."""
    return {name: f"semantic.{name}" for name in full_names(get_task("semantic").Options)}


# Keys of the first recipes that ``start`` has replaced.
_REPLACED = ("pretrained", "pretrained_backbone")


_PACKAGED = resources.files("srzoo.recipes")


def list_recipes() -> list[str]:
    """Names that `load_recipe` takes: every entry with a dataset, and the files of the package."""
    files = {path.name.removesuffix(".yaml") for path in _PACKAGED.iterdir() if path.name.endswith(".yaml")}
    return sorted(files | {name for name in registry.names() if registry.split_name(name)[1]})


def recipe_file(name: str) -> Path:
    """The YAML file behind a recipe's name: one of its own, else the protocol of the entry's dataset.

    Raises:
        ValueError: no such recipe.
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
            f"no recipe {name!r}{nearest(name, list_recipes())}; give a YAML file, a model with its dataset, "
            "such as srnet_lite0_camvid, or a protocol, such as cityscapes"
        )
    return _PACKAGED / f"{registry.recipe_of(architecture, dataset)}.yaml"


def load_recipe(source: str | Path, **overrides) -> Recipe:
    """Read a recipe by its name, or by the path of a YAML file.

    A file may name another recipe as its ``base``, and then holds what differs from it. Every entry with a dataset is
    a name: where it has no file of its own, it is trained by the protocol of its dataset.

    Args:
        **overrides: keys to set differently; ``semantic={"crop": 320}``, or ``**{"semantic.crop": 320}``.

    Raises:
        ValueError: neither exists, or a key is unknown, missing or wrong.
    """
    given = _given(overrides, "recipe")
    return _recipe(_overridden(_read(source), given), f"recipe {source}")


def default_recipe(model: str, images: int, **overrides) -> Recipe:
    """A protocol to fine-tune any model on one's own data.

    Args:
        model: name for `create_model`, or one of srzoo's ``.safetensors`` files to start from.
        images: how many there are to train on.
        **overrides: keys to set differently, as for `load_recipe`.

    Raises:
        ValueError: no such model, or an override is wrong.
    """
    given = _given({**overrides, "model": model}, "recipe")
    name = given["model"]
    if is_model_file(model):
        short_side = read_config(model).transform.short_side
    else:
        short_side = registry.default_transform(*registry.split_name(name)).short_side
    steps_per_epoch = max(1, images // given.get("batch_size", _BATCH_SIZE))
    asked = given.get("steps") or steps_per_epoch * (given.get("epochs") or 0)
    steps = asked or min(_STEPS, _MAX_EPOCHS * steps_per_epoch)
    epochs = steps / steps_per_epoch
    values = {
        "model": name,
        "start": "published" if name in PUBLISHED else "imagenet",
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


def _read(source: str | Path, based_on_it: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a recipe and of the one it is based on."""
    path = Path(source)
    named = {}
    if not path.is_file():
        path = recipe_file(str(source))
        if path.stem != str(source):
            named = {"model": str(source)}
    if path in based_on_it:
        raise ValueError(f"{path} is its own base; a recipe's bases must end with one that has none")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a recipe: it holds no keys")
    base = values.pop("base", None)
    if not isinstance(base, str | None):
        raise ValueError(f"{path}: base must be the name or the file of a recipe, got {base!r}")
    found = _given(values, f"recipe {path}") | named
    return found if base is None else _overridden(_read(base, (*based_on_it, path)), found)


def _given(values: Mapping, where: str) -> dict[str, Any]:
    """The keys that are in ``values`` by their full names, those of the first recipes under their new names."""
    values, said = renamed(values, moved_keys())
    if old := [key for key in _REPLACED if key in values]:
        start = _start_of(values, where)
        values = {**{key: value for key, value in values.items() if key not in old}, "start": start}
        said = [f"{' and '.join(old)} is now start, here {start!r}", *said]
    if said:
        warnings.warn(f"{where}: {', '.join(said)}; the old spelling still works", FutureWarning, stacklevel=4)
    if is_model_file(file := values.get("model")):
        name = read_config(file).name
        if values.get("start", file) != file:
            raise ValueError(
                f"{where}: model {file} is a file of weights, which start={values['start']!r} leaves out; leave start "
                f"out, or say model {name}"
            )
        values = {**values, "model": name, "start": file}
    return read(recipe_keys(), values, where)


def _start_of(values: Mapping, where: str) -> str:
    """What ``start`` says in place of the keys of the first recipes."""
    is_pretrained, backbone = values.get("pretrained", False), values.get("pretrained_backbone")
    if not isinstance(is_pretrained, bool):
        raise ValueError(f"{where}: pretrained must be true or false, got {is_pretrained!r}")
    if not isinstance(backbone, bool | str | None):
        raise ValueError(f"{where}: pretrained_backbone must be true, false or a file, got {backbone!r}")
    if "start" in values:
        raise ValueError(f"{where}: start says what {' and '.join(_REPLACED)} said; leave them out")
    if is_pretrained and backbone not in (None, True):
        raise ValueError(
            f"{where}: pretrained weights bring a backbone of their own, pretrained_backbone={backbone!r} another; say "
            "start: published, imagenet, random or a file"
        )
    if is_pretrained:
        return values["model"] if is_model_file(values.get("model", "")) else "published"
    return {None: "imagenet", True: "imagenet", False: "random"}.get(backbone, backbone)


def _recipe(found: Mapping[str, Any], where: str) -> Recipe:
    if "model" not in found:  # which says whose block it is
        raise ValueError(f"{where} has no model: write it into the file, or pass --model VALUE")
    task = task_of(found["model"])
    foreign = [name for name in found if "." in name and not name.startswith(f"{task}.")]
    if foreign:
        raise ValueError(f"{where}: {foreign[0]} belongs to another task than {found['model']}, which is {task}")
    return build(Recipe, found, where, options=build(get_task(task).Options, found, where, f"{task}."))


def _overridden(found: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Both together; the length of a run is in epochs or in steps, as was said last."""
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if overrides.get(one) is not None:
            found = {**found, other: None}
    return merged(found, overrides)
