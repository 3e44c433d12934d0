import pytest
import torch
from torch import nn

from srzoo.layers import DoubleAttention


@pytest.mark.parametrize("heads", [1, 3])
def test_agrees_with_gather_and_distribute_in_a_loop(heads):
    torch.manual_seed(0)
    module = DoubleAttention(12, heads=heads).double()
    nn.init.normal_(module.project.weight, std=0.2)
    x = torch.randn(1, 12, 3, 4, dtype=torch.float64)
    features, gather, hand_out = (layer(x)[0].flatten(1) for layer in (module.value, module.key, module.query))
    z = torch.zeros_like(features)
    width = 6 // heads
    for head in range(heads):
        rows = slice(head * width, (head + 1) * width)
        descriptors = []
        for attention in gather[rows]:
            weights = attention.exp() / attention.exp().sum()  # over the pixels
            descriptors.append(sum(w * pixel for w, pixel in zip(weights, features[rows].T)))
        for i, pixel in enumerate(hand_out[rows].T):
            weights = pixel.exp() / pixel.exp().sum()  # over the descriptors
            z[rows, i] = sum(w * descriptor for w, descriptor in zip(weights, descriptors))
    expected = x[0].flatten(1) + module.project.weight.flatten(1) @ z + module.project.bias[:, None]
    torch.testing.assert_close(module(x)[0].flatten(1), expected)
