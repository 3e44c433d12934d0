import pytest
import torch
from timm.layers import NonLocalAttn
from torch import nn

from srzoo.layers import NonLocal


def block(channels: int, reduction: int = 2) -> NonLocal:
    torch.manual_seed(0)
    module = NonLocal(channels, reduction).double()
    nn.init.normal_(module.project.weight, std=0.2)
    nn.init.normal_(module.project.bias, std=0.2)
    return module


def test_agrees_with_timm_s_block():
    module, theirs = block(32), NonLocalAttn(32, use_scale=False, rd_ratio=0.5).double()
    theirs.norm = nn.Identity()
    for ours, other in ((module.query, theirs.t), (module.key, theirs.p), (module.value, theirs.g)):
        other.load_state_dict(ours.state_dict(), strict=False)  # their key has a bias, which the softmax cancels
    theirs.z.weight.data, theirs.z.bias.data = module.project.weight[..., None], module.project.bias
    x = torch.randn(2, 32, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x), theirs(x))


def test_agrees_with_the_paper_s_equations_in_a_loop():
    module = block(6, reduction=3)
    x = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    pixels = x[0].flatten(1).T
    theta, phi, g, w_z = (layer.weight.flatten(1) for layer in (module.query, module.key, module.value, module.project))
    outputs = []
    for pixel in pixels:
        query = theta @ pixel + module.query.bias
        weights = torch.stack([(query @ (phi @ other)).exp() for other in pixels])  # Eq. 3
        y = sum(w * (g @ other + module.value.bias) for w, other in zip(weights, pixels)) / weights.sum()  # Eq. 1
        outputs.append(pixel + w_z @ y + module.project.bias)  # Eq. 6
    torch.testing.assert_close(module(x)[0].flatten(1).T, torch.stack(outputs))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 47)])
def test_both_forms_agree_in_values_and_all_gradients(size, both_forms):
    module = block(16)
    x = torch.randn(2, 16, *size, dtype=torch.float64, requires_grad=True)
    for value, expected in zip(*both_forms(module, x)):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
