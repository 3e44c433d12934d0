"""What a model is apart from its weights: the part of a weights file that makes it self-contained."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from .transform import Transform


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build a model and to use it on an image.

    Attributes:
        name: the entry or architecture it was made from.
        options: keyword arguments of the family's class, without ``num_classes``.
        classes: class names in order of id.
        palette: an RGB colour (0..255) for each class.
        transform: how an image becomes the model's input.
        family: a key of `srzoo.models.FAMILIES`.
    """

    name: str
    options: dict = field(hash=False)
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    transform: Transform
    family: str = "srnet"  # in the first files there was no other

    @property
    def task(self) -> str:
        return "semantic"

    @property
    def align_corners(self) -> bool:
        """How the model's logits are resized, as in ``torch.nn.functional.interpolate``."""
        return self.options.get("align_corners", False)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """The inverse of `to_json`.

        Raises:
            ValueError: the text is not such a configuration.
        """
        try:
            values = json.loads(text)
            return cls(
                name=str(values["name"]),
                options={key: tuple(v) if isinstance(v, list) else v for key, v in values["options"].items()},
                classes=tuple(str(name) for name in values["classes"]),
                palette=tuple((int(r), int(g), int(b)) for r, g, b in values["palette"]),
                transform=Transform.from_dict(values["transform"]),
                family=str(values.get("family", cls.family)),
            )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a configuration of srzoo: {type(error).__name__}: {error}") from error
