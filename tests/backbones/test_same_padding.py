import pytest
import timm
import torch
from timm.layers import Conv2dSame
from timm.layers import pad_same as timm_pad_same

from srzoo.backbones import FeatureBackbone, same_padding
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
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 2), (5, 1)])
@torch.inference_mode()
def test_strips_give_the_same(kernel, stride, dilation, monkeypatch):
    conv = SamePaddedConv2d(4, 6, kernel, stride, dilation=dilation, groups=2)
    for size in ((1, 9), (5, 8), (33, 16)):
        x = torch.randn(2, 4, *size).contiguous(memory_format=torch.channels_last)
        monkeypatch.undo()
        whole = conv(x)
        for strip in (1, 1000):
            monkeypatch.setattr(same_padding, "_STRIP", strip)
            torch.testing.assert_close(conv(x), whole)
