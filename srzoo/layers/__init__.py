"""Context modules: tensors of ``(N, C, H, W)`` in, the same shape out."""

from .context import CONTEXT_MODULES, build_context
from .released import ReleasedSqueezeReasoning
from .squeeze_reasoning import SqueezeReasoning

__all__ = ["CONTEXT_MODULES", "ReleasedSqueezeReasoning", "SqueezeReasoning", "build_context"]
