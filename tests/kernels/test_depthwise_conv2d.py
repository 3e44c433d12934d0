"""`depthwise_conv2d` against ``reference.py``."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels.depthwise_conv2d.op import depthwise_conv2d
from srzoo_kernels.depthwise_conv2d.reference import depthwise_conv2d as reference
from tests.kernels.properties import given, settings, st


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


@pytest.mark.parametrize(("kernel", "dilation"), [(5, 2), (5, 3), (3, 2)])
def test_a_gpu_computes_no_dilated_5x5_kernel(kernel, dilation):
    with FakeTensorMode():
        x = torch.empty(2, 8, 18, 24, device="cuda").contiguous(memory_format=torch.channels_last)
        weight = torch.empty(8, 1, kernel, kernel, device="cuda")
        padding = dilation * (kernel // 2)
        graph = make_fx(lambda: depthwise_conv2d(x, weight, 1, padding, dilation))()
        y = depthwise_conv2d(x, weight, 1, padding, dilation)
    convolutions = [node for node in graph.graph.nodes if "convolution" in str(node.target)]
    assert [node.args[5] for node in convolutions] == [[1, 1] if kernel == 5 else [dilation] * 2]
    assert y.shape == x.shape and y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dilation", "padding"), [(2, 4), (3, 3), (2, 0)])
def test_a_dilated_5x5_kernel(dilation, padding, device):
    x = torch.randn(2, 8, 19, 22, generator=torch.Generator().manual_seed(0)).to(device, torch.float64)
    weight = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(1)).to(device, torch.float64)
    operands = (x.contiguous(memory_format=torch.channels_last).requires_grad_(), weight.requires_grad_())
    found = []
    for function in (depthwise_conv2d, reference):
        y = function(*operands, padding=padding, dilation=dilation)
        found.append((y, *torch.autograd.grad(y.square().sum(), operands)))
    torch.testing.assert_close(*found)


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


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dtype"),
    [(3, 1, 1, torch.float32), (3, 2, 0, torch.float32), (5, 1, 4, torch.bfloat16), (5, 2, 2, torch.bfloat16)],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_opcheck(memory_format, kernel, stride, padding, dtype):
    x = torch.randn(2, 4, 9, 12).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(4, 1, kernel, kernel).to(dtype).requires_grad_()
    torch.library.opcheck(torch.ops.srzoo.depthwise_conv2d.default, (x, weight, stride, padding))


@pytest.mark.parametrize("wanted", [0, 1], ids=["x", "weight"])
def test_one_gradient_alone(wanted):
    operands = [torch.randn(1, 4, 6, 7), torch.randn(4, 1, 5, 5)]
    operands[wanted].requires_grad_()
    (grad,) = torch.autograd.grad(depthwise_conv2d(*operands, padding=2).square().sum(), operands[wanted])
    (expected,) = torch.autograd.grad(reference(*operands, padding=2).square().sum(), operands[wanted])
    torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 2, "dilation": 2}, {"padding": 0, "dilation": 3}])
def test_autocast_is_that_of_a_convolution(options):
    x, weight = torch.randn(1, 4, 9, 8, requires_grad=True), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y, expected = (function(x, weight, **options) for function in (depthwise_conv2d, reference))
    assert y.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=2**-7, atol=2**-7)
    grads = torch.autograd.grad(y.float().sum(), (x, weight))
    assert [each.dtype for each in grads] == [torch.float32] * 2
    with torch.autocast("cpu", torch.bfloat16):
        wide = [function(x.double(), weight.double(), **options) for function in (depthwise_conv2d, reference)]
    assert wide[0].dtype == torch.float64
    torch.testing.assert_close(*wide)


@pytest.mark.parametrize("shape", [(4, 1, 3, 5), (4, 1, 1, 3), (8, 1, 3, 3), (4, 1, 5, 3)], ids=str)
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"padding": 2, "dilation": 2}], ids=str)
def test_other_filters_have_the_library_s_gradients(shape, options):
    x = torch.randn(2, 4, 9, 11, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    ours, expected = (
        torch.autograd.grad(function(x, weight, **options).square().sum(), (x, weight))
        for function in (depthwise_conv2d, reference)
    )
    torch.testing.assert_close(ours, expected)


def test_a_second_derivative_is_refused():
    x, weight = torch.randn(1, 4, 6, 6, requires_grad=True), torch.randn(4, 1, 3, 3)
    (grad,) = torch.autograd.grad(depthwise_conv2d(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        grad.sum().backward()


@pytest.mark.parametrize(("kernel", "stride", "taps"), [(3, 1, (9, 9)), (5, 1, (25, 36)), (3, 2, (9, 9))])
def test_operations_are_counted(kernel, stride, taps):
    x, weight = torch.randn(2, 4, 8, 10, requires_grad=True), torch.randn(4, 1, kernel, kernel, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        y = depthwise_conv2d(x, weight, stride, kernel // 2)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    assert forward.get_total_flops() == 2 * y.numel() * kernel**2
    inputs = x.numel() if stride == 1 else y.numel()
    assert backward.get_total_flops() == 2 * (inputs * taps[0] + y.numel() * taps[1])


def test_compiles_whole_and_once_for_every_size():
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x, w: depthwise_conv2d(x, w, stride=2, padding=1), backend=counter, fullgraph=True)
    weight = torch.randn(4, 1, 3, 3, requires_grad=True)
    frames = []
    for size in [(9, 12), (11, 8), (14, 17)]:
        x = torch.randn(2, 4, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
        runs = []
        for function in (compiled, lambda x, w: depthwise_conv2d(x, w, stride=2, padding=1)):
            y = function(x, weight)
            runs.append((y, *torch.autograd.grad(y.square().sum(), (x, weight))))
        torch.testing.assert_close(*runs)
        frames.append(counter.frame_count)
    assert frames == [1, 2, 2]  # the second size makes the sizes dynamic
