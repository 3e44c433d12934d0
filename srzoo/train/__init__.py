"""Training: ``srzoo.train(...)`` is `srzoo.train.api.train`, which runs the loop of `srzoo.train.loop`."""

import sys
from types import ModuleType

from .api import TrainedRun, train

__all__ = ["TrainedRun", "train"]


class _CallableModule(ModuleType):
    __call__ = staticmethod(train)


sys.modules[__name__].__class__ = _CallableModule
