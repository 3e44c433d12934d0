import pytest
import torch
from torch import nn

from srzoo.layers import RecurrentCrissCrossAttention


def block(recurrences: int) -> RecurrentCrissCrossAttention:
    torch.manual_seed(0)
    module = RecurrentCrissCrossAttention(8, recurrences=recurrences).double()
    nn.init.normal_(module.project.weight, std=0.3)
    return module


def criss_cross(module, x):
    """Eq. 1 and 2, pixel by pixel."""
    query, key, value = module.query(x), module.key(x), module.value(x)
    attended = torch.zeros_like(value)
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            path = [(i, c) for c in range(width)] + [(r, j) for r in range(height) if r != i]
            affinity = torch.stack([(query[:, :, i, j] * key[:, :, r, c]).sum(1) for r, c in path], 1)
            weights = torch.softmax(affinity, 1)
            attended[:, :, i, j] = sum(weights[:, n, None] * value[:, :, r, c] for n, (r, c) in enumerate(path))
    return x + module.project(attended.flatten(2)).view_as(x)


@pytest.mark.parametrize("recurrences", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (4, 5)])
def test_agrees_with_the_paper_s_equations_in_a_loop(size, recurrences):
    module = block(recurrences)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    expected = x
    for _ in range(recurrences):
        expected = criss_cross(module, expected)
    torch.testing.assert_close(module(x), expected)


def test_one_pass_sees_a_cross_and_two_see_everything():
    x = torch.randn(1, 8, 5, 6, dtype=torch.float64)
    far = x.clone()
    far[..., 4, 5] += 3
    for recurrences, reached in ((1, 5 + 6 - 1), (2, 5 * 6)):
        module = block(recurrences)
        changed = (module(far) - module(x)).abs().amax((0, 1)) > 1e-9
        assert changed.sum() == reached
