"""The block with a gradient as one operator; ``test_interpreter.py`` runs this file on the Triton kernels."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import squeeze_reasoning, upsample_cross_entropy
from srzoo_kernels.launch import A100, B200, H100, MI300, interpreted
from srzoo_kernels.squeeze_reasoning import reference, training
from tests.kernels.block_operands import SHAPES, composed, weights_of

plain_only = pytest.mark.skipif(interpreted(), reason="too slow, or not traced, in the interpreter")
layouts = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
DTYPES = [
    (torch.float32, torch.float32),
    (torch.float16, torch.float16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float32),
    (torch.bfloat16, torch.float32),
]
NAMES = ("x", "transform", "pair", "project", "adjacency", "weight")


def leaves_of(channels, k, d, dtype, device):
    """`weights_of`, each of which requires a gradient."""
    return [each.requires_grad_() for each in weights_of(channels, k, d, dtype, device)]


def gradient_of(shape, dtype, device, channels_last=False):
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(7)).to(device, dtype)
    return grad.to(memory_format=torch.channels_last) if channels_last else grad


def step(function, operands, grad):
    """The result and the gradients of all operands."""
    leaves = [each.detach().requires_grad_() for each in operands]
    y = function(*leaves)
    return y.detach(), torch.autograd.grad(y, leaves, grad)


@layouts
@pytest.mark.parametrize(("dtype", "weight_dtype"), DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "k", "d"), SHAPES, ids=str)
def test_values_and_gradients(shape, k, d, dtype, weight_dtype, channels_last, feature_map, device):
    x = feature_map(shape, dtype, channels_last)
    weights = leaves_of(shape[1], k, d, weight_dtype, device)
    grad = gradient_of(shape, dtype, device, channels_last)
    y, grads = step(squeeze_reasoning, (x, *weights), grad)
    exact_y, exact = step(reference.squeeze_reasoning, [each.double() for each in (x, *weights)], grad.double())
    form = torch.channels_last if channels_last else torch.contiguous_format
    assert y.dtype == dtype and y.is_contiguous(memory_format=form) and grads[0].is_contiguous(memory_format=form)
    # Rounding M, x's gradient and the weights' once each: a few units of the coarser dtype.
    coarse = torch.finfo(dtype).eps
    assert (y.double() - exact_y).norm() <= 4 * coarse * exact_y.norm()
    for name, found, truth, operand in zip(NAMES, grads, exact, (x, *weights), strict=True):
        assert (found.dtype, found.shape) == (operand.dtype, operand.shape), name
        assert truth.any(), name
        assert (found.double() - truth).norm() <= 8 * coarse * truth.norm(), name


def test_gradcheck(feature_map, device):
    if interpreted():
        pytest.skip("float64 does not run on Triton")
    x = feature_map((2, 6, 2, 3), torch.float64)
    weights = leaves_of(6, 2, 2, torch.float64, device)
    assert torch.autograd.gradcheck(squeeze_reasoning, (x, *weights))


@pytest.mark.parametrize("frozen", [(0,), (1, 3), (1, 2, 3, 4, 5), (0, 2, 4)], ids=str)
def test_only_what_is_asked_for_gets_a_gradient(frozen, feature_map, device):
    shape = (3, 64, 7, 5)  # of which MKL's products of matrices and of batches of them have other bits
    operands = [feature_map(shape), *leaves_of(64, 8, 4, torch.float32, device)]
    grad = gradient_of(shape, torch.float32, device)
    _, expected = step(squeeze_reasoning, operands, grad)
    for index in frozen:
        operands[index] = operands[index].detach()
    squeeze_reasoning(*operands).backward(grad)
    for index, (operand, gradient) in enumerate(zip(operands, expected, strict=True)):
        if index in frozen:
            assert operand.grad is None, NAMES[index]
        else:
            torch.testing.assert_close(operand.grad, gradient, rtol=0, atol=0)


@layouts
def test_a_gradient_that_lies_otherwise_than_the_map(channels_last, feature_map, device):
    shape = (2, 24, 7, 5)
    operands = [feature_map(shape, channels_last=channels_last), *leaves_of(24, 3, 4, torch.float32, device)]
    expected = step(squeeze_reasoning, operands, gradient_of(shape, torch.float32, device, channels_last))[1]
    found = step(squeeze_reasoning, operands, gradient_of(shape, torch.float32, device, not channels_last))[1]
    ones = step(squeeze_reasoning, operands, torch.ones(1, device=device).expand(shape))[1]
    plain = step(squeeze_reasoning, operands, torch.ones(shape, device=device))[1]
    for each, other in zip((*found, *ones), (*expected, *plain), strict=True):
        torch.testing.assert_close(each, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_same_input_same_bits(dtype, feature_map, device):
    operands = [feature_map((2, 24, 7, 5), dtype), *leaves_of(24, 3, 4, torch.float32, device)]
    grad = gradient_of((2, 24, 7, 5), dtype, device)
    (y, first), (again, second) = (step(squeeze_reasoning, operands, grad) for _ in range(2))
    assert torch.equal(y, again) and all(map(torch.equal, first, second))


@layouts
def test_the_squeeze_s_gradient_is_not_lost_in_float16(channels_last, feature_map, device, monkeypatch):
    """It is divided by the number of pixels, so often below float16's smallest number, as a matrix of a GPU's dtype."""
    monkeypatch.setattr("srzoo_kernels.products.library.multiplies_slowly", lambda x: False)
    x = feature_map((2, 24, 7, 5), torch.float16, channels_last, grad=False) * 1e4  # so that the result can be told
    symmetric = 1e-8 * torch.randn(2, 24, 24, generator=torch.Generator().manual_seed(3)).to(device)
    symmetric = symmetric + symmetric.mT
    grad, matrix = torch.zeros_like(x), torch.zeros(2, 24, 24, dtype=torch.float16, device=device)
    found = training._map_gradient(grad, x, matrix, symmetric)
    exact = torch.einsum("nij,njhw->nihw", symmetric.double(), x.double())
    assert (found.double() - exact).norm() <= 4 * torch.finfo(torch.float16).eps * exact.norm()


def test_a_gradient_that_nobody_gives(feature_map, device):
    class Stop(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return y.clone()

        @staticmethod
        def backward(ctx, grad):
            return None

    x = feature_map((1, 24, 3, 4))
    y = Stop.apply(squeeze_reasoning(x, *leaves_of(24, 3, 4, torch.float32, device)))
    (y.sum() + x.sum()).backward()
    assert torch.equal(x.grad, torch.ones_like(x))
    logits, target = feature_map((1, 5, 3, 4)), torch.zeros(1, 6, 8, dtype=torch.int64, device=device)
    (Stop.apply(upsample_cross_entropy(logits, target)) + logits.sum()).backward()
    assert torch.equal(logits.grad, torch.ones_like(logits))


def test_an_empty_batch(device):
    operands = [torch.empty(0, 24, 7, 5, device=device), *leaves_of(24, 3, 4, torch.float32, device)]
    y, grads = step(squeeze_reasoning, operands, operands[0])
    assert y.shape == grads[0].shape == (0, 24, 7, 5)
    assert not any(each.any() for each in grads[1:])


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_several_vectors_at_once(feature_map, device):
    x = feature_map((1, 24, 3, 4))
    leaves = leaves_of(24, 3, 4, torch.float32, device)
    y, vectors = squeeze_reasoning(x, *leaves), torch.randn(3, *x.shape, device=device)
    together = torch.autograd.grad(y, (x, *leaves), vectors, is_grads_batched=True, retain_graph=True)
    alone = [torch.autograd.grad(y, (x, *leaves), each, retain_graph=True) for each in vectors]
    for found, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_second_derivative_is_refused(feature_map, device):
    x = feature_map((1, 24, 3, 4))
    y = squeeze_reasoning(x, *leaves_of(24, 3, 4, torch.float32, device))
    (grad,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated"):
        grad.sum().backward()


@plain_only
def test_transforms_take_the_composed_form(feature_map, device):
    x = feature_map((2, 24, 3, 4), grad=False)
    weights = [each.detach() for each in leaves_of(24, 3, 4, torch.float32, device)]
    found = torch.func.grad(lambda x: squeeze_reasoning(x, *weights).sum())(x)
    expected = step(squeeze_reasoning, (x, *weights), torch.ones_like(x))[1][0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@layouts
@plain_only
def test_opcheck(channels_last, feature_map, device):
    x = feature_map((2, 24, 3, 5), channels_last=channels_last)
    weights = leaves_of(24, 3, 4, torch.float32, device)
    torch.library.opcheck(torch.ops.srzoo.squeeze_reasoning_training, (x, *weights))


@plain_only
@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16], ids=str)
def test_compiles_whole_and_once_for_every_size(weight_dtype, feature_map, device):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(squeeze_reasoning, backend=counter, fullgraph=True, dynamic=True)
    weights = leaves_of(24, 3, 4, weight_dtype, device)
    for size in [(5, 7), (8, 6), (33, 47)]:
        x, grad = feature_map((2, 24, *size)), gradient_of((2, 24, *size), torch.float32, device)
        expected, found = (step(each, (x, *weights), grad) for each in (squeeze_reasoning, compiled))
        assert torch.equal(found[0], expected[0]) and all(map(torch.equal, found[1], expected[1]))
    assert counter.frame_count == 1


@pytest.mark.parametrize("with_map", [True, False])
def test_counts_what_it_computes(with_map, feature_map, device):
    x = feature_map((2, 24, 3, 4), grad=with_map)
    counts = []
    for form in (squeeze_reasoning, composed):
        weights = leaves_of(24, 3, 4, torch.float32, device)
        with FlopCounterMode(display=False) as counter:
            form(x, *weights).sum().backward()
        counts.append(counter.get_total_flops())
    # W_t S, which the composed form keeps, is multiplied again.
    assert counts[0] == counts[1] + 2 * 2 * 24 * 24 * 12


@plain_only
@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_launches(dtype, channels_last, idle, feature_map, copies_of):
    x = feature_map((2, 128, 33, 40), dtype, channels_last, grad=False).cpu()  # for a driver that is no GPU's
    weights = leaves_of(128, 16, 4, torch.float32, "cpu")
    grad = gradient_of(x.shape, dtype, "cpu", channels_last)
    forward = ["pixel_product_kernel", "squeeze_kernel", "reason_kernel", "map_kernel", "channel_map_kernel"]
    backward = ["pixel_product_kernel", "graph_backward_kernel", "channel_map_kernel", "channel_map_kernel"]
    leaf = x.clone().requires_grad_()
    for _ in range(2):
        idle.launches.clear()
        y = squeeze_reasoning(leaf, *weights)
        assert [each.kernel for each in idle.launches] == forward
        y.backward(grad)
        assert [each.kernel for each in idle.launches] == forward + backward
    idle.launches.clear()
    squeeze_reasoning(x, *weights).backward(grad)  # whose map needs no gradient
    assert [each.kernel for each in idle.launches] == forward + backward[:2]
    assert copies_of(lambda: squeeze_reasoning(x.requires_grad_(), *weights).backward(grad), 2 * x.numel()) == []


@plain_only
def test_traces_on_cuda_without_one():
    with torch._subclasses.FakeTensorMode():
        x = torch.empty(2, 24, 5, 7, device="cuda", dtype=torch.float16, requires_grad=True)
        weights = leaves_of(24, 3, 4, torch.float32, "cuda")
        outputs = torch.ops.srzoo.squeeze_reasoning_training(x, *weights)
        y, *saved = outputs
        grads = torch.ops.srzoo.squeeze_reasoning_training_backward(y.detach(), x, *weights, *saved, True)
    assert (y.device.type, y.dtype, y.shape) == ("cuda", torch.float16, x.shape)
    assert [each.shape for each in grads] == [x.shape, *(each.shape for each in weights)]


@pytest.mark.slow
@plain_only
@pytest.mark.parametrize("target", [A100, H100, B200, MI300], ids=lambda target: str(target.arch))
@pytest.mark.parametrize(("k", "d"), [(16, 16), (64, 16), (64, 2)])
def test_no_shape_spills(target, k, d):
    pytest.importorskip("triton")
    from srzoo_kernels.ahead_of_time._triton import compile_launches
    from srzoo_kernels.squeeze_reasoning._triton import plan_map_gradient, plan_training

    for dtype in (torch.float16, torch.float32):
        x = torch.empty(1, 512, 128, 256, dtype=dtype, device="meta")
        weights = [each.detach().to("meta") for each in leaves_of(512, k, d, torch.float32, "cpu")]
        launches, (_, second, _, _, matrix) = plan_training(x, *weights, target)
        scale = second.new_empty(1) if dtype == torch.float16 else None
        more, _ = plan_map_gradient(x, x, matrix, matrix, scale, target)
        for report in compile_launches((each, target) for each in (*launches[1:], *more)):
            assert report.spills == 0
