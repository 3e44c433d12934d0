"""Autocast off, and on again; nothing where it is off already."""

from contextlib import nullcontext

import pytest
import torch

from srzoo_kernels import conv2d_act, depthwise_conv2d
from srzoo_kernels.autocast import autocast_dtype, no_autocast, without_autocast


def test_is_off_inside_and_as_it_was_after():
    x = torch.randn(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert autocast_dtype("cpu") == torch.bfloat16
        with no_autocast("cpu"):
            assert autocast_dtype("cpu") is None
            assert (x @ x).dtype == torch.float32
        assert without_autocast(torch.mm)(x, x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
    assert autocast_dtype("cpu") is None


@pytest.mark.parametrize("device_type", ["cpu", "cuda", "meta"])
def test_where_it_is_off_there_is_no_context(device_type):
    assert isinstance(no_autocast(device_type), nullcontext)


def test_an_export_records_no_autocast_region():
    class Product(torch.nn.Module):
        def forward(self, x):
            with no_autocast(x.device.type):
                return x @ x

    program = torch.export.export(Product(), (torch.randn(3, 3),))
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert [str(node.target) for node in calls] == ["aten.matmul.default"]


@pytest.mark.parametrize(("function", "shape"), [(conv2d_act, (4, 4, 1, 1)), (depthwise_conv2d, (4, 1, 3, 3))])
def test_integers_are_refused_as_by_a_convolution(function, shape):
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(RuntimeError, match="(?i)long"):
        function(torch.ones(1, 4, 5, 6, dtype=torch.int64), torch.ones(shape))
