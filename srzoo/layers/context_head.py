"""The head of a segmentation network: the context module between backbone and classifier, with its convolutions."""

from collections import OrderedDict

from torch import nn

from .context import build_context
from .pyramids import rates_at


class ContextHead(nn.Sequential):
    """``fuse(context(reduce(x)))``: a context module between two layers. Each of the three is optional.

    Args:
        reduce: maps the backbone's last feature to the context module's width.
        context: the context module, e.g. from `build_context`.
        fuse: follows the context module. If its first layer is a convolution named ``conv`` and the context module is
            Squeeze Reasoning, `srzoo.fuse` folds the two into one.

    Shape:
        ``(N, C, h, w)`` to ``(N, D, h, w)``: ``C`` is the input width of ``reduce``, ``D`` the output width of
        ``fuse``. Without any of the three the head is the identity.
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
    """Build the pyramid "aspp" or "psp" for a head, where "aspp" takes its rates from the stride.

    Args:
        name: one of `srzoo.layers.PYRAMIDS`.
        channels: of the input, the backbone's last feature.
        out_channels: of the output.
        stride: of the input against the image.
        **options: of the pyramid's class, e.g. ``rates``, ``bins``.

    Shape:
        ``(N, channels, h, w)`` to ``(N, out_channels, h, w)``.

    Raises:
        ValueError: an invalid option.
        TypeError: an option that the pyramid does not have.
    """
    if name == "aspp":
        options = {"rates": rates_at(stride), **options}
    return build_context(name, channels, out_channels=out_channels, **options)
