"""What every model of the zoo has."""

from typing import Any, ClassVar

from torch import nn


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
