import pytest
import torch

from srzoo.layers import DualAttention


def block(channels: int = 8, reduction: int = 4) -> DualAttention:
    torch.manual_seed(0)
    module = DualAttention(channels, reduction).double()
    module.alpha.data.fill_(0.7)
    module.beta.data.fill_(-0.4)
    return module


def test_agrees_with_the_paper_s_equations_in_a_loop():
    module = block()
    x = torch.randn(1, 8, 3, 4, dtype=torch.float64)
    a = x[0].flatten(1)
    b, c, d = (layer(x)[0].flatten(1) for layer in (module.query, module.key, module.value))
    position, channel = torch.zeros_like(a), torch.zeros_like(a)
    for j in range(a.shape[1]):
        weights = torch.stack([(b[:, j] @ c[:, i]).exp() for i in range(a.shape[1])])  # Eq. 1
        position[:, j] = sum(w * d[:, i] for i, w in enumerate(weights)) / weights.sum()  # Eq. 2
    for j in range(a.shape[0]):
        energy = torch.stack([a[j] @ a[i] for i in range(a.shape[0])])
        weights = (energy.max() - energy).exp()  # Eq. 3 as in the authors' code
        channel[j] = sum(w * a[i] for i, w in enumerate(weights)) / weights.sum()  # Eq. 4
    torch.testing.assert_close(module(x)[0].flatten(1), a + module.alpha * position + module.beta * channel)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 47)])
def test_both_forms_agree_in_values_and_all_gradients(size, both_forms):
    module = block(16)
    x = torch.randn(2, 16, *size, dtype=torch.float64, requires_grad=True)
    for value, expected in zip(*both_forms(module, x)):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
