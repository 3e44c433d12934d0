import torch
from timm.layers import SEModule

from srzoo.layers import SqueezeExcitation


def test_agrees_with_timm_s_module():
    module, theirs = SqueezeExcitation(128).double(), SEModule(128).double()
    for ours, layer in ((module.reduce, theirs.fc1), (module.expand, theirs.fc2)):
        layer.weight.data.copy_(ours.weight[:, :, None, None])
        layer.bias.data.copy_(ours.bias)
    x = torch.randn(2, 128, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x), theirs(x))
