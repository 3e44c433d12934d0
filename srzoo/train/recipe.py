"""The protocol of a training run, as a YAML file beside this package or of one's own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml


@dataclass
class Recipe:
    """One training protocol. Sizes are pixels, rates are per step, shares are fractions.

    Attributes:
        model: name for `create_model`; its backbone starts from ImageNet.
        epochs, batch_size: length of the run.
        crop, scale: square crop and the range of the random resize factor before it.
        lr, backbone_lr_scale, weight_decay: AdamW; norms and biases are not decayed.
        warmup_epochs, power: linear warm-up, then poly.
        lovasz, aux: weights of Lovasz-Softmax and of the auxiliary cross-entropy.
        ema_decay: of the averaged weights, which are the ones evaluated and kept.
        precision: "bf16" or "no", as Accelerate names them.
        seed: of initialisation, order and augmentation.
    """

    model: str
    epochs: int
    batch_size: int
    crop: int
    scale: tuple[float, float]
    lr: float
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    power: float = 0.9
    lovasz: float = 0.5
    aux: float = 0.4
    ema_decay: float = 0.995
    precision: str = "bf16"
    seed: int = 0

    def __post_init__(self):
        self.scale = tuple(self.scale)
        for name in ("epochs", "batch_size", "crop"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"recipe: scale must be 0 < low <= high, got {self.scale}")


def list_recipes() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(
        path.name.removesuffix(".yaml")
        for path in resources.files("srzoo.recipes").iterdir()
        if path.name.endswith(".yaml")
    )


def load_recipe(source: str | Path) -> Recipe:
    """Read a recipe by its name in the package, or by the path of a YAML file.

    Raises:
        ValueError: neither exists, or a key is unknown or missing.
    """
    path = Path(source)
    if not path.is_file():
        path = resources.files("srzoo.recipes") / f"{source}.yaml"
    if not path.is_file():
        raise ValueError(f"no recipe {str(source)!r}: give a YAML file or one of {', '.join(list_recipes())}")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a recipe: it holds no keys")
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; a recipe has {', '.join(known)}")
    try:
        return Recipe(**values)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
