import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srzoo_kernels.depthwise_conv2d.op import depthwise_conv2d
from srzoo_kernels.depthwise_conv2d.reference import depthwise_conv2d as reference


def both(shape, kernel, dtype, **options):
    """Output and both gradients of the operator and of the library."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(shape[1], 1, kernel, kernel, generator=generator, dtype=torch.float64)
    seed = torch.randn(reference(x, weight, **options).shape, generator=generator, dtype=torch.float64)
    results = []
    for function, kind in ((depthwise_conv2d, dtype), (reference, torch.float64)):
        inputs = [
            x.to(kind).contiguous(memory_format=torch.channels_last).requires_grad_(),
            weight.to(kind).requires_grad_(),
        ]
        y = function(*inputs, **options)
        results.append((y, *torch.autograd.grad(y, inputs, seed.to(kind))))
    return results


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 5),
    padding=st.integers(0, 12),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    batch=st.integers(0, 2),
)
def test_equals_the_library_whatever_the_geometry(kernel, stride, dilation, padding, height, width, batch):
    if min(height, width) + 2 * padding < dilation * (kernel - 1) + 1:
        return  # no output pixel; the library refuses it as well
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    ours, library = both((batch, 3, height, width), kernel, torch.float64, **options)
    for value, expected in zip(ours, library):
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"stride": 2, "padding": 1}),
        (5, {"stride": 2, "padding": 0}),
        (5, {"padding": 2}),
        (5, {"padding": 4, "dilation": 2}),
        (3, {"padding": 2, "dilation": 2}),
        (5, {"padding": 8, "dilation": 4}),
        (3, {"padding": 0, "dilation": 4}),
    ],
)
def test_bfloat16_is_as_close_as_its_rounding(kernel, options):
    ours, library = both((2, 8, 19, 22), kernel, torch.bfloat16, **options)
    for value, expected in zip(ours, library):
        error = (value.double() - expected).norm() / expected.norm()
        assert error < 2**-7, f"relative error {error:.2e}"


def test_gradient_with_stride_zero():
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    weight = torch.randn(4, 1, 3, 3, requires_grad=True)
    grads = torch.autograd.grad(depthwise_conv2d(x, weight, padding=1).sum(), (x, weight))  # sum() gives stride 0
    expected = torch.autograd.grad(reference(x, weight, padding=1).sum(), (x, weight))
    torch.testing.assert_close(grads, expected)
