"""TensorFlow's "same" padding in integer arithmetic, so that ``torch.compile`` and ``torch.export`` take any size."""

from collections.abc import Sequence

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional as F


def pad_same(
    x: torch.Tensor, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> torch.Tensor:
    """Pad ``x`` with zeros so that an unpadded convolution gives ``ceil(size / stride)`` outputs per axis.

    The result equals that of timm's ``pad_same``. That function divides in floating point, after which a tracer knows
    neither the range of a size nor whether two sizes are equal: it rejects a dynamic size, or needs minutes for it.

    Args:
        x: ``(N, C, H, W)``.
        kernel_size, stride, dilation: of the convolution, for height and width.

    Returns:
        ``(N, C, H + top + bottom, W + left + right)``.
    """
    top, bottom, left, right = same_margins(x, kernel_size, stride, dilation)
    return F.pad(x, (left, right, top, bottom))


def same_margins(
    x: torch.Tensor, kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int, int]:
    """The zeros that `pad_same` puts above, below, on the left and on the right."""
    vertical, horizontal = (_margins(*axis) for axis in zip(x.shape[-2:], kernel_size, stride, dilation, strict=True))
    return *vertical, *horizontal


def _margins(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Number of zeros before and after one axis. If their sum is odd, there is one more after."""
    steps = (size - 1) // stride  # number of outputs minus one
    total = steps * stride + dilation * (kernel - 1) + 1 - size
    if dilation * (kernel - 1) + 1 < stride:
        total = max(total, 0)
    return total // 2, total - total // 2


class SamePaddedConv2d(Conv2dSame):
    """timm's ``Conv2dSame`` with `pad_same` from this module.

    On a CPU a depthwise convolution gets zero taps instead of a padded copy of its map, which is the larger by far:
    where one more zero is due after the map than before, a tap before the kernel makes the padding symmetric.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # a trace would keep whether a side is odd
        if (
            x.device.type == "cpu"
            and self.groups == self.in_channels > 1
            and set(self.dilation) == {1}
            and not is_traced
        ):
            above, below, left, right = same_margins(x, self.kernel_size, self.stride, self.dilation)
            weight = F.pad(self.weight, (right - left, 0, below - above, 0))
            return F.conv2d(x, weight, self.bias, self.stride, (below, right), 1, self.groups)
        x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def replace_same_padding(body: nn.Module) -> None:
    """Replace every ``Conv2dSame`` in ``body`` by `SamePaddedConv2d`, in place. Parameters and names do not change."""
    for name, conv in list(body.named_modules()):
        if type(conv) is Conv2dSame:
            with torch.device("meta"):  # its weights are replaced; on meta they draw no random numbers
                replacement = SamePaddedConv2d(
                    conv.in_channels,
                    conv.out_channels,
                    conv.kernel_size,
                    conv.stride,
                    dilation=conv.dilation,
                    groups=conv.groups,
                    bias=conv.bias is not None,
                )
            replacement.weight, replacement.bias = conv.weight, conv.bias
            body.set_submodule(name, replacement)
