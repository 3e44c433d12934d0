"""Every context module by the name that ``create_model(..., context=...)`` takes."""

from torch import nn

from ..messages import shortened
from .checks import check_choice
from .criss_cross import RecurrentCrissCrossAttention
from .double_attention import DoubleAttention
from .dual_attention import DualAttention
from .expectation_maximization import ExpectationMaximizationAttention
from .generalized_non_local import CompactGeneralizedNonLocal
from .meta import check_shape_stays
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
PYRAMIDS = ("aspp", "psp")  # take ``out_channels`` too, so they can replace a head's convolutions


def check_context(name: object) -> None:
    """Check that an argument ``context`` is a key of `CONTEXT_MODULES`.

    Raises:
        ValueError: it is something else, such as a class.
    """
    if callable(name):
        raise ValueError(
            f"context must be a name, which a model's file can keep, got {shortened(name)}; a class gets one by "
            "srzoo.layers.CONTEXT_MODULES['name'] = the class"
        )
    check_choice("context module", name, CONTEXT_MODULES)


def build_context(name: str, channels: int, **options) -> nn.Module:
    """Build a context module by name; "none" is the identity.

    Args:
        name: a key of `CONTEXT_MODULES`.
        channels: ``C`` of the input and the output.
        **options: of the module's class, e.g. ``nodes=32`` for "sr", or ``out_channels`` for a pyramid.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, or to ``(N, out_channels, H, W)``.

    Raises:
        ValueError: unknown name, options for "none", an invalid option, or a module of your own gives another shape.
        TypeError: an option that the module's class does not have.
    """
    check_context(name)
    module = CONTEXT_MODULES[name]
    if module is None and options:
        raise ValueError(f"context={name!r} takes no options, got {', '.join(options)}")
    built = module(channels, **options) if module else nn.Identity()
    if module and not getattr(module, "__module__", "").startswith(f"{__package__}."):  # added by a user
        try:
            check_shape_stays(built, (2, channels, 48, 64), options.get("out_channels"))
        except ValueError as error:
            raise ValueError(f"context={name!r}: {error}") from error
    return built
