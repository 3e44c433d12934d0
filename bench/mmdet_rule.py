"""The rule by which mmdetection 1 counts a detector: ``tools/get_flops.py`` and ``mmdet/utils/flops_counter.py``.

It adds up what modules do and sees no function calls: multiply-adds and biases of convolutions, products of linear
layers, two operations for each element of a BatchNorm, one for each of an ``nn.ReLU``, and the input of a max pooling.
A transposed convolution is counted like a convolution with as many output pixels, which is four times its work here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead


def _convolution(module: nn.Conv2d | nn.ConvTranspose2d, x: torch.Tensor, y: torch.Tensor) -> int:
    products = math.prod(module.kernel_size) * module.in_channels // module.groups
    return y.numel() * (products + (module.bias is not None))


_RULES: dict[type, Callable[[nn.Module, torch.Tensor, torch.Tensor], int]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    nn.Linear: lambda module, x, y: x.numel() * module.out_features,
    nn.BatchNorm2d: lambda module, x, y: 2 * x.numel(),
    nn.ReLU: lambda module, x, y: y.numel(),
    nn.MaxPool2d: lambda module, x, y: x.numel(),
    # mmdetection's box head calls a module after both layers, torchvision's a function.
    TwoMLPHead: lambda module, x, y: 2 * y.numel(),
}


def counted(model: nn.Module, run: Callable[[], object]) -> int:
    """What the rule counts in a call of ``run``, which calls a detector of srzoo."""
    total, handles = 0, []

    def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        total += _RULES[type(module)](module, inputs[0], output)

    for name, module in model.named_modules():
        # In the proposal network it is the other way round: mmdetection calls a function there.
        if type(module) in _RULES and not (isinstance(module, nn.ReLU) and name.startswith("rpn.")):
            handles.append(module.register_forward_hook(add))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return total
