"""What every model of the zoo has."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import nn

from ..labels import LabelSet
from ..layers.insertion import on_meta
from .cost import multiply_adds


class ZooModel(nn.Module):
    """A network with what is needed to use and to rebuild it.

    Attributes:
        task: what it is for, a name of `srzoo.tasks.task.TASKS`.
        config: its `srzoo.zoo.config.ModelConfig`, from `configure`; None for a network built from its class.
        input_multiple: sides of the input should be multiples of this, for the maps within to lie on each other.
    """

    task: ClassVar[str]
    input_multiple: int

    def __init__(self):
        super().__init__()
        self.config: Any = None

    def configure(self, config: Any) -> None:
        """Take a `ModelConfig` for one's own, with `input_multiple` as the multiple of its transform."""
        transform = dataclasses.replace(config.transform, multiple=self.input_multiple)
        self.config = dataclasses.replace(config, transform=transform)

    def reconfigure(self, labels: LabelSet | None = None, transform: Any = None) -> None:
        """Replace parts of the configuration, in place.

        Args:
            labels: other names, colours and things of as many classes.
            transform: another `srzoo.zoo.transform.Transform`; its multiple becomes `input_multiple`.

        Raises:
            ValueError: another number of classes, or a model without a configuration.
        """
        check_zoo_model(self, "reconfigure")
        changes: dict[str, Any] = {} if transform is None else {"transform": transform}
        if labels is not None:
            own, given = len(self.config.classes), len(labels.classes)
            if given != own:
                raise ValueError(
                    f"the model has {own} classes, the labels {given}; build it with num_classes={given} for these"
                )
            changes["labels"] = labels
        self.configure(dataclasses.replace(self.config, **changes))

    def cost(self, input_size: tuple[int, int]) -> int:
        """Multiply-adds of one image of ``(H, W)`` pixels at inference, as executed; counted on the meta device.

        A network whose work depends on what it sees counts with a fixed number of it, such as a detector's proposals.
        """
        twin = on_meta(self).eval()
        with torch.device("meta"):
            image = torch.empty(1, 3, *input_size, dtype=next(twin.parameters()).dtype)
            return multiply_adds(lambda: twin(image))


def check_zoo_model(model: object, caller: str, configured: bool = True) -> None:
    """Refuse what is not one of srzoo's models.

    Args:
        caller: who asks, for the error.
        configured: whether it has to have a config too, as all have that `create_model` or `load_model` made.

    Raises:
        ValueError: it is another module, perhaps a wrapper around one, or has no config.
    """
    if isinstance(model, ZooModel) and (model.config is not None or not configured):
        return
    found = f"{type(model).__name__}{' without a config' if isinstance(model, ZooModel) else ''}"
    raise ValueError(
        f"{caller} takes what create_model and load_model make, got {found}; pass such a model, without a wrapper"
    )
