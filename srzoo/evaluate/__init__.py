"""Evaluation: ``srzoo.evaluate(...)`` is `srzoo.evaluate.api.evaluate`; receipts are in `srzoo.evaluate.receipt`."""

import sys
from types import ModuleType

from .api import evaluate

__all__ = ["evaluate"]


class _CallableModule(ModuleType):
    __call__ = staticmethod(evaluate)


sys.modules[__name__].__class__ = _CallableModule
