"""What a segmentation network has between its backbone and its classifier: a context module and what is around it."""

from collections import OrderedDict

from torch import nn

from .context import build_context
from .pyramids import rates_at


class ContextHead(nn.Sequential):
    """``fuse(context(reduce(x)))``: a context module between two layers, either of which may be left out.

    Args:
        reduce: brings the backbone's last feature to the context module's width.
        context: e.g. of `build_context`; without any of the three the head is the identity.
        fuse: follows the context module. Where it begins with a convolution ``conv`` behind Squeeze Reasoning,
            `srzoo.fuse` folds the two into one.

    Shape:
        ``(N, C, h, w)`` to ``(N, D, h, w)``, where C is what ``reduce`` takes and D what ``fuse`` gives.
    """

    reduce: nn.Module
    context: nn.Module
    fuse: nn.Module

    def __init__(
        self, reduce: nn.Module | None = None, context: nn.Module | None = None, fuse: nn.Module | None = None
    ):
        parts = {"reduce": reduce, "context": context, "fuse": fuse}
        super().__init__(OrderedDict((name, nn.Identity() if part is None else part) for name, part in parts.items()))


def build_pyramid(name: str, channels: int, out_channels: int, stride: int, **options) -> nn.Module:
    """The pyramid "aspp" or "psp" as a head has it.

    Args:
        name: one of `srzoo.layers.PYRAMIDS`.
        channels: of its input, the backbone's last feature.
        out_channels: of its output.
        stride: of the map, from which "aspp" has its rates.
        **options: of its class, e.g. ``rates``, ``bins``.

    Shape:
        ``(N, channels, h, w)`` to ``(N, out_channels, h, w)``.

    Raises:
        ValueError: options that the pyramid refuses.
    """
    if name == "aspp":
        options = {"rates": rates_at(stride), **options}
    return build_context(name, channels, out_channels=out_channels, **options)
