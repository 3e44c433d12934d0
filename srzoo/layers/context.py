"""Every context module by the name that ``create_model(..., context=...)`` takes."""

from torch import nn

from .checks import check_choice
from .criss_cross import RecurrentCrissCrossAttention
from .double_attention import DoubleAttention
from .dual_attention import DualAttention
from .expectation_maximization import ExpectationMaximizationAttention
from .generalized_non_local import CompactGeneralizedNonLocal
from .non_local import NonLocal
from .pyramids import ASPP, PyramidPooling
from .released import ReleasedSqueezeReasoning
from .squeeze_excitation import SqueezeExcitation
from .squeeze_reasoning import SqueezeReasoning

CONTEXT_MODULES: dict[str, type[nn.Module] | None] = {
    "sr": SqueezeReasoning,
    "sr_released": ReleasedSqueezeReasoning,
    "nl": NonLocal,
    "a2": DoubleAttention,
    "cgnl": CompactGeneralizedNonLocal,
    "rcca": RecurrentCrissCrossAttention,
    "da": DualAttention,
    "ema": ExpectationMaximizationAttention,
    "se": SqueezeExcitation,
    "aspp": ASPP,
    "psp": PyramidPooling,
    "none": None,
}
PYRAMIDS = ("aspp", "psp")  # also take ``out_channels``, so they can stand for a head's convolutions too


def build_context(name: str, channels: int, **options) -> nn.Module:
    """The context module of that name, ``(N, channels, H, W)`` to the same shape; an identity for "none".

    Args:
        name: a key of `CONTEXT_MODULES`.
        channels: of its input, and of its output unless a pyramid is given ``out_channels``.
        **options: of the module's class, e.g. ``nodes=32`` for "sr".

    Raises:
        ValueError: no such module, options for "none", or options that the module refuses.
    """
    check_choice("context module", name, CONTEXT_MODULES)
    module = CONTEXT_MODULES[name]
    if module is None and options:
        raise ValueError(f"context={name!r} takes no options, got {', '.join(options)}")
    return module(channels, **options) if module else nn.Identity()
