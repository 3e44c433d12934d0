"""`channel_affine` against ``reference.py``; ``test_interpreter.py`` runs this file again on the Triton kernels."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import channel_affine
from srzoo_kernels.channel_affine import reference
from srzoo_kernels.launch import interpreted
from tests.kernels.properties import given, settings, st

plain_only = pytest.mark.skipif(interpreted(), reason="too slow, or not traced, in the interpreter")
layouts = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
biases = pytest.mark.parametrize("with_bias", [False, True], ids=["no_bias", "bias"])
# The interpreter takes milliseconds for a step of a program: fewer pixels there, which still are several tiles.
ODD = (1, 24, 17, 23) if interpreted() else (1, 24, 33, 47)
SHAPES = [(1, 3, 1, 1), (2, 40, 7, 5), (1, 130, 6, 8), ODD, (1, 260, 3, 4)]
MANY_TILES = (2, 40, 9, 13) if interpreted() else (2, 72, 33, 13)


def operands_for(x, with_bias, dtype=None):
    """A matrix near the identity's size and, maybe, a bias."""
    n, c = x.shape[:2]
    generator = torch.Generator().manual_seed(c)
    matrix = torch.randn(n, c, c, generator=generator) / c**0.5
    operands = [matrix, torch.randn(n, c, generator=generator)][: 1 + with_bias]
    return [each.to(x.device, dtype or x.dtype).requires_grad_() for each in operands]


def with_gradients(function, x, *operands):
    """``y`` and the gradient of every operand under random weights, of ``x``'s memory format."""
    y = function(x, *operands)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    weight = weight.to(memory_format=torch.channels_last) if y.stride(1) == 1 else weight
    return y, *torch.autograd.grad(y, [x, *operands], weight)


def in_float64(*tensors):
    return [each.detach().double().requires_grad_() for each in tensors]


@layouts
@biases
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_as_accurate_as_the_library(shape, dtype, with_bias, channels_last, feature_map, assert_accurate):
    x = feature_map(shape, dtype, channels_last)
    operands = operands_for(x, with_bias)
    results = with_gradients(channel_affine, x, *operands)
    assert [each.dtype for each in results] == [dtype] * len(results)
    own = with_gradients(reference.channel_affine, x, *operands)
    exact = with_gradients(reference.channel_affine, *in_float64(x, *operands))
    assert_accurate(results, own, exact, dtype)


@layouts
@biases
@pytest.mark.parametrize("shape", [*SHAPES, (1, 16, 129, 257)], ids=str)
@plain_only
def test_float64_stays_float64(shape, with_bias, channels_last, feature_map):
    x = feature_map(shape, torch.float64, channels_last)
    operands = operands_for(x, with_bias)
    expected = with_gradients(reference.channel_affine, x, *operands)
    for result, exact in zip(with_gradients(channel_affine, x, *operands), expected, strict=True):
        assert result.dtype == torch.float64
        torch.testing.assert_close(result, exact, rtol=1e-12, atol=1e-11)


@plain_only
def test_gradient_is_that_of_finite_differences(feature_map):
    x = feature_map((2, 5, 2, 3), torch.float64)
    assert torch.autograd.gradcheck(channel_affine, (x, *operands_for(x, True)))


@biases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_float32_matrix_is_rounded_and_its_gradient_is_float32(dtype, with_bias, feature_map, assert_accurate):
    x = feature_map((2, 20, 5, 7), dtype)
    operands = operands_for(x, with_bias, torch.float32)
    results = with_gradients(channel_affine, x, *operands)
    assert [each.dtype for each in results] == [dtype, dtype] + [torch.float32] * (1 + with_bias)
    own = with_gradients(reference.channel_affine, x, *operands)
    assert_accurate(results, own, with_gradients(reference.channel_affine, *in_float64(x, *operands)), dtype)


@layouts
def test_keeps_the_memory_format(channels_last, feature_map):
    x = feature_map((2, 6, 3, 4), channels_last=channels_last)
    y, grad, _ = with_gradients(channel_affine, x, *operands_for(x, False))
    assert y.stride() == grad.stride() == x.stride()


@layouts
def test_a_gradient_of_the_other_memory_format(channels_last, feature_map, assert_accurate):
    x = feature_map((2, 20, 5, 7), channels_last=channels_last)
    operands = operands_for(x, True)
    weight = feature_map((2, 20, 5, 7), channels_last=not channels_last, grad=False)

    def results(function, x, *operands):
        return torch.autograd.grad(function(x, *operands), [x, *operands], weight.to(x.dtype))

    exact = results(reference.channel_affine, *in_float64(x, *operands))
    own = results(reference.channel_affine, x, *operands)
    assert_accurate(results(channel_affine, x, *operands), own, exact, torch.float32)


@layouts
@biases
def test_gradients_without_strides(with_bias, channels_last, feature_map):
    x = feature_map((2, 20, 5, 7), channels_last=channels_last)
    operands = operands_for(x, with_bias)
    grads = torch.autograd.grad(channel_affine(x, *operands).sum(), [x, *operands])
    expected = torch.autograd.grad(reference.channel_affine(x, *operands).sum(), [x, *operands])
    torch.testing.assert_close(grads, expected)


@pytest.mark.parametrize("wanted", [0, 1, 2], ids=["x", "matrix", "bias"])
def test_one_gradient_alone(wanted, feature_map):
    x = feature_map((1, 6, 3, 4))
    operands = [x, *operands_for(x, True)]
    for index, operand in enumerate(operands):
        operand.requires_grad_(index == wanted)
    weight = feature_map((1, 6, 3, 4), grad=False) + 1
    (grad,) = torch.autograd.grad(channel_affine(*operands), operands[wanted], weight)
    (expected,) = torch.autograd.grad(reference.channel_affine(*operands), operands[wanted], weight)
    torch.testing.assert_close(grad, expected)


def test_strided_operands_are_read_right(feature_map):
    x = feature_map((2, 6, 10, 12), grad=False)[:, ::2, 1:8, 3:-1]
    matrix, bias = torch.randn(2, 3, 6)[..., ::2].mT, torch.randn(3, 2).mT
    matrix, bias = matrix.to(x.device), bias.to(x.device)
    torch.testing.assert_close(channel_affine(x, matrix, bias), reference.channel_affine(x, matrix, bias))


@plain_only
def test_autocast_leaves_the_map_alone(feature_map, device):
    x = feature_map((1, 6, 3, 4))
    operands = operands_for(x, True)
    with torch.autocast(device, torch.bfloat16):
        inside = with_gradients(channel_affine, x, *operands)
    assert all(torch.equal(*pair) for pair in zip(inside, with_gradients(channel_affine, x, *operands), strict=True))


def test_an_empty_batch_gives_empty_results(feature_map):
    x = feature_map((0, 8, 3, 3))
    shapes = [each.shape for each in with_gradients(channel_affine, x, *operands_for(x, True))]
    assert shapes == [(0, 8, 3, 3), (0, 8, 3, 3), (0, 8, 8), (0, 8)]


@layouts
def test_same_input_same_bits(channels_last, feature_map):
    x = feature_map(MANY_TILES, channels_last=channels_last)
    operands = operands_for(x, True)
    runs = [with_gradients(channel_affine, x, *operands) for _ in range(2)]
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@layouts
def test_saves_its_operands_alone_and_copies_nothing(channels_last, feature_map, copies_of):
    x = feature_map((1, 16, 16, 24), channels_last=channels_last)
    operands = operands_for(x, True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t):
        y = channel_affine(x, *operands)
    assert saved == [each.data_ptr() for each in (x, *operands)]
    if not interpreted():  # the interpreter copies every argument
        assert copies_of(lambda: channel_affine(x, *operands), x.numel()) == []
        weight = torch.ones_like(y)
        assert copies_of(lambda: torch.autograd.grad(y, [x, *operands], weight), x.numel()) == []


@settings(max_examples=6 if interpreted() else 40, deadline=None)
@given(
    n=st.integers(1, 2),
    c=st.integers(1, 140),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    last=st.booleans(),
    data=st.data(),
)
def test_any_shape(n, c, h, w, last, data):
    x = torch.randn(n, c, h, w)
    x = (x.to(memory_format=torch.channels_last) if last else x).requires_grad_()
    operands = operands_for(x, data.draw(st.booleans()))
    results = with_gradients(channel_affine, x, *operands)
    torch.testing.assert_close(results, with_gradients(reference.channel_affine, x, *operands), rtol=1e-4, atol=1e-4)


@biases
@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@plain_only
def test_opcheck(dtype, channels_last, with_bias, feature_map):
    x = feature_map((2, 9, 3, 5), dtype, channels_last)
    matrix, bias = (*operands_for(x, with_bias, torch.float32), None)[:2]
    torch.library.opcheck(torch.ops.srzoo.channel_affine, (x, matrix, bias))


@pytest.mark.parametrize(
    ("x", "matrix", "bias", "message"),
    [
        ((3, 4, 5), (1, 3, 3), None, r"x.*\(N, C, H, W\).*\(3, 4, 5\)"),
        ((1, 3, 4, 0), (1, 3, 3), None, "x.*height 4, width 0"),
        ((2, 3, 4, 5), (2, 4, 4), None, r"matrix.*\(2, 3, 3\).*\(2, 4, 4\)"),
        ((2, 3, 4, 5), (1, 3, 3), None, r"matrix.*\(2, 3, 3\).*\(1, 3, 3\)"),
        ((2, 3, 4, 5), (2, 3, 3), (2, 4), r"bias.*\(2, 3\).*\(2, 4\)"),
    ],
)
def test_misfitting_shapes_are_refused(x, matrix, bias, message):
    with pytest.raises(ValueError, match=message):
        channel_affine(torch.zeros(x), torch.zeros(matrix), None if bias is None else torch.zeros(bias))


def test_other_devices_and_dtypes_are_refused():
    x, matrix, bias = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 3), torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"matrix.*cpu.*meta"):
        channel_affine(x, matrix.to("meta"))
    with pytest.raises(ValueError, match=r"bias.*cpu.*meta"):
        channel_affine(x, matrix, bias.to("meta"))
    with pytest.raises(ValueError, match="floating matrix.*int64"):
        channel_affine(x, matrix.long())


@pytest.mark.skipif(torch.cuda.is_available() and not interpreted(), reason="a GPU is not waited for")
def test_a_matrix_or_bias_that_is_not_finite_is_refused():
    x, matrix, bias = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 3), torch.zeros(2, 3)
    matrix[1, 0, 2] = 1e5
    channel_affine(x, matrix, bias)
    with pytest.raises(ValueError, match=r"^matrix .*image 1\b.*\b1 of 9 .*float16.*6.6e.04"):
        channel_affine(x.half(), matrix, bias)
    bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"^bias .*image 0\b.*\b3 of 3 "):
        channel_affine(x, matrix, bias)


def test_counts_what_it_executes(feature_map):
    x = feature_map((2, 30, 3, 4))
    operands = operands_for(x, False)
    one = 2 * 2 * 12 * 30 * 30
    with FlopCounterMode(display=False) as forward:
        y = channel_affine(x, *operands)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    assert (forward.get_total_flops(), backward.get_total_flops()) == (one, 2 * one)


@plain_only
@biases
def test_compiles_whole_and_once_for_every_size(with_bias, feature_map):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(channel_affine, backend=counter, fullgraph=True, dynamic=True)
    for size in [(5, 7), (8, 6), (33, 47)]:
        x = feature_map((2, 12, *size))
        operands = operands_for(x, with_bias)
        results = with_gradients(compiled, x, *operands)
        expected = with_gradients(channel_affine, x, *operands)
        assert all(torch.equal(result, eager) for result, eager in zip(results, expected, strict=True))
    assert counter.frame_count == 1


@plain_only
def test_traces_on_cuda_without_one():
    with torch._subclasses.FakeTensorMode():
        x = torch.empty(2, 16, 5, 7, device="cuda", dtype=torch.float16, requires_grad=True)
        y = channel_affine(x, torch.empty(2, 16, 16, device="cuda"))
    assert (y.device.type, y.dtype, y.shape) == ("cuda", torch.float16, (2, 16, 5, 7))
