"""Context modules: each maps ``(N, C, H, W)`` to the same shape, a pyramid with ``out_channels`` to these channels.

``forward`` raises a ValueError for an input that is not a floating ``(N, C, H, W)`` tensor of the module's ``C``, or
that has no pixels.
"""

from .context import CONTEXT_MODULES, PYRAMIDS, build_context
from .criss_cross import RecurrentCrissCrossAttention
from .double_attention import DoubleAttention
from .dual_attention import DualAttention
from .expectation_maximization import ExpectationMaximizationAttention
from .generalized_non_local import CompactGeneralizedNonLocal
from .moments import Moments
from .non_local import NonLocal
from .pyramids import ASPP, PyramidPooling
from .released import ReleasedSqueezeReasoning
from .squeeze_excitation import SqueezeExcitation
from .squeeze_reasoning import SqueezeReasoning

__all__ = [
    "ASPP",
    "CONTEXT_MODULES",
    "PYRAMIDS",
    "CompactGeneralizedNonLocal",
    "DoubleAttention",
    "DualAttention",
    "ExpectationMaximizationAttention",
    "Moments",
    "NonLocal",
    "PyramidPooling",
    "RecurrentCrissCrossAttention",
    "ReleasedSqueezeReasoning",
    "SqueezeExcitation",
    "SqueezeReasoning",
    "build_context",
]
