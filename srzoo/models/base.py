"""What every model of the zoo has."""

import dataclasses
from typing import Any, ClassVar

from torch import nn

from ..labels import LabelSet


class ZooModel(nn.Module):
    """A network with what is needed to use and to rebuild it.

    Attributes:
        task: what it is for, a name of `srzoo.tasks.task.TASKS`.
        config: its `srzoo.zoo.config.ModelConfig`, which the factory sets; None for a network built from its class.
    """

    task: ClassVar[str]

    def __init__(self):
        super().__init__()
        self.config: Any = None

    def reconfigure(self, labels: LabelSet | None = None, transform: Any = None) -> None:
        """Give the model other class names and colours, or another transform, from here on."""
        changes = {} if labels is None else {"classes": labels.classes, "palette": labels.palette}
        changes |= {} if transform is None else {"transform": transform}
        self.config = dataclasses.replace(self.config, **changes)
