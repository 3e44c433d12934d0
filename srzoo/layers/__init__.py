"""Context modules: tensors of ``(N, C, H, W)`` in, the same shape out."""

from .released import ReleasedSqueezeReasoning
from .squeeze_reasoning import SqueezeReasoning

__all__ = ["ReleasedSqueezeReasoning", "SqueezeReasoning"]
