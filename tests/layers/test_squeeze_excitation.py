import torch
from timm.layers import SEModule

from srzoo.layers import SqueezeExcitation


def test_timm_s_module_agrees():
    module, theirs = SqueezeExcitation(128).double(), SEModule(128).double()
    theirs.load_state_dict(module.state_dict())
    x = torch.randn(2, 128, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x), theirs(x))
