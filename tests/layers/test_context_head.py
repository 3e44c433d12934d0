import pytest
import torch
from torch import nn

from srzoo.layers import ASPP, SqueezeReasoning
from srzoo.layers.context_head import ContextHead, build_pyramid
from srzoo.layers.conv import conv_bn_relu


def test_the_three_parts_run_in_order():
    torch.manual_seed(0)
    head = ContextHead(conv_bn_relu(12, 8), SqueezeReasoning(8, nodes=2), nn.Conv2d(8, 5, 1)).eval()
    nn.init.normal_(head.context.project.weight)
    x = torch.randn(2, 12, 7, 5)
    torch.testing.assert_close(head(x), head.fuse(head.context(head.reduce(x))))
    assert {name.partition(".")[0] for name in head.state_dict()} == {"reduce", "context", "fuse"}


def test_missing_parts_are_the_identity():
    x = torch.randn(2, 12, 7, 5)
    assert ContextHead()(x) is x
    assert not ContextHead().state_dict()
    fuse = nn.Conv2d(12, 5, 1)
    torch.testing.assert_close(ContextHead(fuse=fuse)(x), fuse(x))


def test_a_pyramid_has_the_rates_of_its_stride():
    pyramid = build_pyramid("aspp", 16, 8, stride=16)
    assert type(pyramid) is ASPP
    assert [branch[0].dilation[0] for branch in pyramid.atrous] == [6, 12, 18]
    assert [branch[0].dilation[0] for branch in build_pyramid("aspp", 16, 8, stride=16, rates=(2, 4)).atrous] == [2, 4]
    assert build_pyramid("psp", 16, 8, stride=8, bins=(1, 2)).bins == (1, 2)
    with pytest.raises(ValueError, match="channels=16 .*bins=3"):
        build_pyramid("psp", 16, 8, stride=8, bins=(1, 2, 3))
