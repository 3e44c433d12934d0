"""The protocol of a training run, as a YAML file beside this package or of one's own."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import yaml

from ..zoo import registry
from ..zoo.published import PUBLISHED

RUN_FILES = ("model.safetensors", "best.safetensors")  # of a run: after the last epoch, and after the best one
# Of `default_recipe`: what a few hundred images take; fewer are learnt by heart before.
_STEPS, _MAX_EPOCHS, _BATCH_SIZE = 3000, 300, 4


@dataclass
class Recipe:
    """One training protocol. Sizes are pixels, rates are per step, shares are fractions.

    Attributes:
        model: name for `create_model`, or a ``.safetensors`` file of ours to go on from.
        batch_size: images of a step, over all processes.
        crop: side of the square crop.
        scale: range of the random resize factor before it, drawn log-uniformly.
        short_side: of an image at factor 1, and of the trained model's transform; default the image's own, and the
            model's.
        max_class_share: a crop in which one class holds more than this is drawn again, up to ten times; 1 for never.
        jitter: strength of the colour jitter, 0 to 1.
        blur: probability of a Gaussian blur.
        lr: learning rate of the head.
        backbone_lr_scale: the backbone's share of it.
        epochs: length of the run; an epoch has ``images // batch_size`` steps.
        steps: length of the run, in place of epochs.
        model_options: keyword arguments for `create_model`.
        pretrained: start from the model's published weights rather than from an ImageNet backbone.
        pretrained_backbone: where not: true for an ImageNet backbone, false for random weights, or the backbone's file.
        optimizer: "adamw" or "sgd".
        momentum: of "sgd".
        weight_decay: of all but norms and biases.
        warmup_epochs: of linear warm-up.
        power: of the poly schedule behind it.
        class_weights: weight the cross-entropies by the rarity of the classes; or by these numbers, one for each.
        ohem: ``(threshold, min_kept)`` of the main cross-entropy, see `srzoo_kernels.upsample_cross_entropy`; the
            pixels kept are counted over all images of a step.
        label_smoothing: of the cross-entropies.
        lovasz: weight of Lovasz-Softmax.
        dice: weight of Dice.
        aux: weight of the auxiliary head's cross-entropy.
        teacher: a trained model to learn from too, by its name or its file.
        distill: weight of that loss.
        ema_decay: of the averaged weights, which are the ones evaluated and kept; 0 for none.
        precision: "auto" for what this machine is fastest in, or "bf16", "fp16" or "no", as Accelerate names them.
            bfloat16 takes about half the memory of a step.
        accumulate: parts of a batch that are computed one after the other, to save memory.
        compile: put the model under ``torch.compile``.
        evaluate_every: epochs between two passes over val.
        seed: of initialisation, order and augmentation.
    """

    model: str
    batch_size: int
    crop: int
    scale: tuple[float, float]
    lr: float
    epochs: int | None = None
    steps: int | None = None
    short_side: int | None = None
    max_class_share: float = 0.75
    jitter: float = 0.3
    blur: float = 0.0
    model_options: dict = field(default_factory=dict)
    pretrained: bool = False
    pretrained_backbone: bool | str = True
    optimizer: str = "adamw"
    momentum: float = 0.9
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    power: float = 0.9
    class_weights: bool | tuple[float, ...] = True
    ohem: tuple[float, int] | None = None
    label_smoothing: float = 0.0
    lovasz: float = 0.5
    dice: float = 0.0
    aux: float = 0.4
    teacher: str | None = None
    distill: float = 1.0
    ema_decay: float = 0.995
    precision: str = "auto"
    accumulate: int = 1
    compile: bool = False
    evaluate_every: int = 8
    seed: int = 0

    def __post_init__(self):
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value is not None or "None" not in item.type:
                setattr(self, item.name, _READ[item.type.removesuffix(" | None")](item.name, value))
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"recipe: give epochs or steps, one of the two; got {self.epochs} and {self.steps}")
        for name in ("epochs", "steps", "batch_size", "crop", "short_side", "accumulate", "evaluate_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"recipe: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1] <= _LARGEST:
            raise ValueError(f"recipe: scale must be 0 < low <= high, got {self.scale}")
        if isinstance(self.class_weights, tuple) and not (
            all(0 <= weight <= _LARGEST for weight in self.class_weights) and any(self.class_weights)
        ):
            raise ValueError(f"recipe: class_weights must be 0 or more and not all 0, got {self.class_weights}")
        if self.ohem and not (0 <= self.ohem[0] <= 1 and self.ohem[1] >= 0):
            raise ValueError(f"recipe: ohem must be a probability and a number of pixels, got {self.ohem}")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"recipe: seed must be from 0 to {(1 << 32) - 1}, got {self.seed}")
        for (low, high), names in _RANGES.items():
            for name in names:
                if not low <= getattr(self, name) <= high:
                    wanted = f"from {low} to {high}" if high < _LARGEST else f"{low} or more"
                    raise ValueError(f"recipe: {name} must be {wanted}, got {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"recipe: {name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")

    def to_yaml(self) -> str:
        """As `load_recipe` reads it."""
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }
        return yaml.safe_dump(values, sort_keys=False, default_flow_style=None)


def _wrong(name: str, wanted: str, value) -> ValueError:
    return ValueError(f"recipe: {name} must be {wanted}, got {value!r}")


def _number(name: str, value, wanted: str = "a number") -> float:
    try:
        return float(value)  # YAML reads 1e-3 as text
    except (TypeError, ValueError):
        raise _wrong(name, wanted, value) from None


def _whole(name: str, value) -> int:
    number = _number(name, value, "a whole number")
    if isinstance(value, bool) or not number.is_integer():
        raise _wrong(name, "a whole number", value)
    return int(number)


def _text(name: str, value) -> str:
    if name == "precision" and value is False:  # YAML's reading of a bare no
        return "no"
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    return value


def _switch(name: str, value) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _start(name: str, value) -> bool | str:
    if not isinstance(value, bool | str):
        raise _wrong(name, "true, false or a file", value)
    return value


def _options(name: str, value) -> dict:
    if not isinstance(value, dict):
        raise _wrong(name, "keys and values, such as {nodes: 32}", value)
    return value


def _two(name: str, value) -> list:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise _wrong(name, "two numbers", value)
    return value


def _weights(name: str, value) -> bool | tuple[float, ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)):
        raise _wrong(name, "true, false or a number for each class", value)
    return tuple(_number(name, each) for each in value)


# By annotation: what YAML or the command line gives, as the recipe's attribute.
_READ = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _switch,
    "bool | str": _start,
    "dict": _options,
    "bool | tuple[float, ...]": _weights,
    "tuple[float, float]": lambda name, value: tuple(_number(name, each) for each in _two(name, value)),
    "tuple[float, int]": lambda name, value: (_number(name, _two(name, value)[0]), _whole(name, value[1])),
}
_LARGEST = sys.float_info.max
_RANGES = {
    (0, 1): ("blur", "jitter", "max_class_share", "momentum", "label_smoothing", "ema_decay"),
    (0, _LARGEST): (
        *("lr", "backbone_lr_scale", "weight_decay", "warmup_epochs", "power"),
        *("lovasz", "dice", "aux", "distill"),
    ),
}
_CHOICES = {"optimizer": ("adamw", "sgd"), "precision": ("auto", "bf16", "fp16", "no")}


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
            f"no recipe {name!r}{registry.nearest(name, list_recipes())}; give a YAML file, a model with its dataset, "
            "such as srnet_lite0_camvid, or a protocol, such as cityscapes"
        )
    return _PACKAGED / f"{registry.recipe_of(architecture, dataset)}.yaml"


def load_recipe(source: str | Path, **overrides) -> Recipe:
    """Read a recipe by its name, or by the path of a YAML file.

    A file may name another recipe as its ``base``, and then holds what differs from it. Every entry with a dataset is
    a name: where it has no file of its own, it is trained by the protocol of its dataset.

    Args:
        **overrides: keys to set differently.

    Raises:
        ValueError: neither exists, or a key is unknown or missing.
    """
    values = _overridden(_read(source), overrides)
    required = (p.name for p in inspect.signature(Recipe).parameters.values() if p.default is p.empty)
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"recipe {source} has no {missing[0]}: write it into the file, or pass --{missing[0]} VALUE")
    return Recipe(**values)


def _read(source: str | Path, based_on_it: tuple[Path, ...] = ()) -> dict:
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
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; a recipe has base, {', '.join(known)}")
    values |= named
    return values if base is None else _overridden(_read(base, (*based_on_it, path)), values)


def default_recipe(model: str, images: int, **overrides) -> Recipe:
    """A protocol to fine-tune any model on data of one's own.

    Args:
        model: name for `create_model`.
        images: how many there are to train on.
        **overrides: keys to set differently.

    Raises:
        ValueError: no such model, or an override that cannot be.
    """
    sizes = {key: _whole(key, overrides[key]) for key in ("batch_size", "steps", "epochs") if key in overrides}
    steps_per_epoch = max(1, images // max(1, sizes.get("batch_size", _BATCH_SIZE)))
    asked = sizes.get("steps") or steps_per_epoch * sizes.get("epochs", 0)
    steps = asked or min(_STEPS, _MAX_EPOCHS * steps_per_epoch)
    epochs = steps / steps_per_epoch
    values = {
        "model": model,
        "batch_size": _BATCH_SIZE,
        "crop": 512,
        "scale": (0.5, 2.0),
        "lr": 1e-3,
        "steps": steps,
        "short_side": registry.default_transform(*registry.split_name(model)).short_side,
        "blur": 0.1,
        "pretrained": model in PUBLISHED,
        "backbone_lr_scale": 0.1,
        "warmup_epochs": epochs / 20,
        "evaluate_every": max(1, round(epochs / 10)),
    }
    return Recipe(**_overridden(values, overrides))


def _overridden(values: dict, overrides: dict) -> dict:
    """Both together; the length of a run is in epochs or in steps, as was said last, and options are joined."""
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if overrides.get(one) is not None:
            values = {**values, other: None}
    joined = [_options("model_options", part.get("model_options", {})) for part in (values, overrides)]
    model_options = joined[0] | joined[1]
    return {**values, **overrides, "model_options": model_options}
