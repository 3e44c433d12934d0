import math

import pytest
import torch
from torch import nn

from srzoo.layers import CompactGeneralizedNonLocal

GAMMA = 1e-4


def dot(a, b):
    return a * b


def rbf(a, b):
    """The Taylor series to order 2."""
    return math.exp(-2 * GAMMA) * (1 + 2 * GAMMA * a * b + (2 * GAMMA * a * b) ** 2 / 2)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [dot, rbf])
def test_agrees_with_a_loop_over_all_pairs_of_elements(kernel, groups):
    torch.manual_seed(0)
    module = CompactGeneralizedNonLocal(8, groups=groups, kernel=kernel.__name__, order=2).double()
    nn.init.normal_(module.project.norm.weight)
    x = torch.randn(1, 8, 2, 3, dtype=torch.float64)
    theta, phi, g = (layer(x)[0].chunk(groups) for layer in (module.query, module.key, module.value))
    parts = []
    for t, p, v in zip(theta, phi, g):
        attended = [sum(kernel(a, b) * c for b, c in zip(p.flatten(), v.flatten())) for a in t.flatten()]
        parts.append(torch.stack(attended).view_as(t) / v.numel())
    y = module.project.norm(module.project.conv(torch.cat(parts).flatten(1)[None]))
    torch.testing.assert_close(module(x), x + y.view_as(x))


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.1])
def test_means_agree_with_the_authors_sums(scale):
    """Expected is their ``GroupNorm(W_z K g)`` with sums and PyTorch's eps, at several scales of the input."""
    torch.manual_seed(0)
    module = CompactGeneralizedNonLocal(64, groups=4)
    nn.init.ones_(module.project.norm.weight)
    x = scale * torch.randn(2, 64, 24, 31).relu()
    theta, phi, g = (layer(x).unflatten(1, (4, -1)) for layer in (module.query, module.key, module.value))
    attended = ((phi * g).sum((2, 3, 4), keepdim=True) * theta).flatten(1, 2).flatten(2)
    norm = nn.GroupNorm(4, 64)
    expected = norm(module.project.conv(attended)).view_as(x)
    torch.testing.assert_close(module(x) - x, expected, rtol=1e-2, atol=1e-3)


def test_the_series_approaches_the_gaussian_kernel():
    """For vectors of length one, which the coefficients assume, it is ``exp(-gamma |a - b|^2)``."""
    module = CompactGeneralizedNonLocal(8, kernel="rbf", groups=1, order=5)
    a, b = torch.tensor(0.6), torch.tensor(-0.8)
    value = sum(coefficient * (a * b) ** power for power, coefficient in module.series)
    torch.testing.assert_close(value, torch.exp(-GAMMA * (2 - 2 * a * b)))


def test_sums_do_not_overflow_under_autocast():
    torch.manual_seed(0)
    module = CompactGeneralizedNonLocal(16, groups=1)
    nn.init.ones_(module.project.norm.weight)
    x = 60 + 20 * torch.randn(1, 16, 64, 64)
    expected = module(x)
    with torch.autocast("cpu", torch.float16):
        y = module(x)
    assert (y - expected).norm() / (expected - x).norm() < 2**-6
