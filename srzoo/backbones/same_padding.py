"""TensorFlow's "same" padding in integer arithmetic, so that ``torch.compile`` and ``torch.export`` take any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional as F

_STRIP = 1 << 21  # elements of a strip: 8 MiB in float32


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
    vertical, horizontal = (_margins(*axis) for axis in zip(x.shape[-2:], kernel_size, stride, dilation, strict=True))
    return F.pad(x, (*horizontal, *vertical))


def _margins(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Number of zeros before and after one axis. If their sum is odd, there is one more after."""
    steps = (size - 1) // stride  # number of outputs minus one
    total = steps * stride + dilation * (kernel - 1) + 1 - size
    if dilation * (kernel - 1) + 1 < stride:
        total = max(total, 0)
    return total // 2, total - total // 2


class SamePaddedConv2d(Conv2dSame):
    """timm's ``Conv2dSame`` with `pad_same` from this module.

    For inference on a CPU a large map is padded and convolved in strips of rows, which gives the same result.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # a trace would keep the number of strips
        is_inference = not (torch.is_grad_enabled() or is_traced)
        if is_inference and x.device.type == "cpu" and x.numel() > _STRIP:
            return self._forward_in_strips(x)
        return self._convolve(pad_same(x, self.kernel_size, self.stride, self.dilation))

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _forward_in_strips(self, x: torch.Tensor) -> torch.Tensor:
        """The same without a padded copy of the whole map, which would double the memory of the largest map."""
        axes = zip(x.shape[-2:], self.kernel_size, self.stride, self.dilation, strict=True)
        (above, _), (left, right) = (_margins(*axis) for axis in axes)
        size, stride = x.shape[2], self.stride[0]
        height, width = ((side - 1) // step + 1 for side, step in zip(x.shape[-2:], self.stride))
        result = None
        for first, last in pairwise([*range(0, height, -(-height // -(-x.numel() // _STRIP))), height]):
            start = first * stride - above
            stop = (last - 1) * stride - above + self.dilation[0] * (self.kernel_size[0] - 1) + 1
            rows = x[:, :, max(start, 0) : min(stop, size)]
            part = self._convolve(F.pad(rows, (left, right, max(-start, 0), max(stop - size, 0))))
            if result is None:  # allocated once, so that the heap is not fragmented by parts of it
                order = torch.channels_last if part.stride(1) == 1 else torch.contiguous_format
                shape = (*part.shape[:2], height, width)
                result = torch.empty(shape, dtype=part.dtype, memory_format=order)
            result[:, :, first:last] = part
            del part
        return result


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
