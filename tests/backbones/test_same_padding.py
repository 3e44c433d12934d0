import pytest
import timm
import torch
from timm.layers import Conv2dSame
from timm.layers import pad_same as timm_pad_same

from srzoo.backbones import FeatureBackbone
from srzoo.backbones.same_padding import SamePaddedConv2d, pad_same


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_pads_as_timm_does(kernel, stride, dilation):
    for size in ((1, 2), (5, 8), (33, 48)):
        x = torch.randn(1, 2, *size)
        arguments = ([kernel] * 2, [stride] * 2, [dilation] * 2)
        assert torch.equal(pad_same(x, *arguments), timm_pad_same(x, *arguments))


def test_replacing_keeps_names_values_and_the_random_state():
    torch.manual_seed(0)
    own = timm.create_model("tf_efficientnet_lite0", features_only=True, output_stride=16).eval()
    after = torch.rand(1)
    torch.manual_seed(0)
    ours = FeatureBackbone("tf_efficientnet_lite0", {"output_stride": 16}).eval()
    assert torch.equal(torch.rand(1), after)
    kinds = {type(module) for module in ours.modules()}
    assert SamePaddedConv2d in kinds and Conv2dSame not in kinds
    assert list(ours.body.state_dict()) == list(own.state_dict())
    x = torch.randn(1, 3, 33, 48)
    with torch.no_grad():
        for result, expected in zip(ours(x), own(x), strict=True):
            assert torch.equal(result, expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolves_as_timm_does(kernel, stride, dilation, groups):
    own = Conv2dSame(4, 8, kernel, stride, dilation=dilation, groups=groups)
    conv = SamePaddedConv2d(4, 8, kernel, stride, dilation=dilation, groups=groups)
    conv.load_state_dict(own.state_dict())
    for size in ((1, 9), (2, 1), (5, 8), (8, 5), (33, 17), (16, 12)):
        x = torch.randn(2, 4, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
        results = [each(x) for each in (conv, own)]
        torch.testing.assert_close(*results)
        weights = torch.randn_like(results[0])
        found, expected = (
            torch.autograd.grad(result, (x, each.weight, each.bias), weights)
            for each, result in zip((conv, own), results, strict=True)
        )
        torch.testing.assert_close(found, expected)


@torch.inference_mode()
def test_a_depthwise_convolution_makes_no_padded_copy():
    conv = SamePaddedConv2d(32, 32, 3, 2, groups=32)
    x = torch.randn(1, 32, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.profiler.profile(profile_memory=True) as profile:
        conv(x)
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
    assert x.nbytes / 4 <= allocated < x.nbytes / 2  # the result, a quarter of the map, and the weights
