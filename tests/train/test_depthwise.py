import copy

import torch

from srzoo import create_model
from srzoo.train.depthwise import DepthwiseConv2d, replace_depthwise


def test_output_gradients_and_names_stay_the_same():
    torch.manual_seed(0)
    model = create_model("srnet_lite0_camvid").eval()
    fast = replace_depthwise(copy.deepcopy(model))
    assert sum(isinstance(m, DepthwiseConv2d) for m in fast.modules()) == 16
    assert list(fast.state_dict()) == list(model.state_dict())
    x = torch.randn(1, 3, 75, 101)
    torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
    for network in (model, fast):
        network.zero_grad()
        network(x).square().mean().backward()
    for (name, p), q in zip(model.named_parameters(), fast.parameters()):
        if p.grad is not None:
            torch.testing.assert_close(
                q.grad, p.grad, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_autocast_to_bfloat16():
    model = replace_depthwise(create_model("srnet_lite0_camvid")).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.backbone(torch.randn(1, 3, 64, 64))[2].dtype == torch.bfloat16
