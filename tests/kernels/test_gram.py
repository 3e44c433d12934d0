"""`gram` against ``reference.py``; ``test_interpreter.py`` runs this file again on the Triton kernels."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import NonFiniteError, gram
from srzoo_kernels.gram import reference
from srzoo_kernels.launch import interpreted
from tests.kernels.properties import given, settings, st

plain_only = pytest.mark.skipif(interpreted(), reason="too slow, or not traced, in the interpreter")
layouts = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
# The interpreter takes milliseconds for a step of a program: fewer pixels there, which still are several tiles.
ODD = (1, 24, 17, 23) if interpreted() else (1, 24, 33, 47)
SHAPES = [(1, 3, 1, 1), (2, 40, 7, 5), (1, 130, 6, 8), ODD, (1, 260, 3, 4)]
MANY_TILES = (2, 40, 9, 13) if interpreted() else (2, 72, 33, 13)


def weighted_results(function, x, seed=0):
    """Moments of ``x``, and the gradient of ``x`` under random, asymmetric weights."""
    second, first = function(x)
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(each.shape, generator=generator).to(each) for each in (second, first)]
    (grad,) = torch.autograd.grad([second, first], [x], weights)
    return second, first, grad


def own_moments(x):
    """The moments as a user of PyTorch writes them, in ``x``'s dtype."""
    matrix = x.flatten(2)
    return matrix @ matrix.mT, matrix.sum(2)


@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_as_accurate_as_the_library(shape, dtype, channels_last, feature_map, assert_accurate):
    x = feature_map(shape, dtype, channels_last)
    results = weighted_results(gram, x)
    exact = weighted_results(reference.gram, x.detach().double().requires_grad_())
    assert [each.dtype for each in results] == [torch.float32, torch.float32, dtype]
    assert_accurate(results, weighted_results(own_moments, x), exact, dtype)


@layouts
@pytest.mark.parametrize("shape", [*SHAPES, (1, 16, 129, 257)], ids=str)
@plain_only
def test_float64_stays_float64(shape, channels_last, feature_map):
    x = feature_map(shape, torch.float64, channels_last)
    for result, exact in zip(weighted_results(gram, x), weighted_results(reference.gram, x), strict=True):
        assert result.dtype == torch.float64
        torch.testing.assert_close(result, exact, rtol=1e-12, atol=1e-11)


@plain_only
def test_gradient_is_that_of_finite_differences(feature_map):
    assert torch.autograd.gradcheck(gram, (feature_map((2, 5, 2, 3), torch.float64),))


@plain_only
def test_half_precision_sums_in_chunks_of_pixels(feature_map, assert_accurate):
    x = feature_map((1, 16, 129, 257), torch.bfloat16)
    exact = weighted_results(reference.gram, x.detach().double().requires_grad_())
    assert_accurate(weighted_results(gram, x), weighted_results(own_moments, x), exact, torch.float32)


def test_float16_sums_do_not_overflow(device):
    x = torch.full((1, 4, 8, 9), 100.0, dtype=torch.float16, device=device)
    second, first = gram(x)
    assert (second == 72e4).all() and (first == 7200).all()


def test_float16_gradients_below_its_range_are_not_lost(feature_map):
    """The mean over many pixels divides the gradient of ``S`` by their number: 1e-7 is subnormal in float16."""
    x = (50 * feature_map((1, 40, 7, 5), grad=False)).half().requires_grad_()
    weight = 1e-7 * torch.randn(1, 40, 40, generator=torch.Generator().manual_seed(0)).to(x.device)
    (grad,) = torch.autograd.grad(gram(x)[0], x, weight)
    exact = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(reference.gram(exact)[0], exact, weight.double())
    assert (grad.double() - expected).norm() <= 0.01 * expected.norm()


@layouts
def test_gradients_without_strides(channels_last, feature_map, assert_accurate):
    x = feature_map((2, 20, 5, 7), channels_last=channels_last)

    def results(function, x):
        second, first = function(x)
        return torch.autograd.grad(second.sum() + 3 * first.sum(), x)

    exact = results(reference.gram, x.detach().double().requires_grad_())
    assert_accurate(results(gram, x), results(own_moments, x), exact, torch.float32)


def test_strided_maps_are_read_right(feature_map):
    x = feature_map((2, 6, 10, 12), grad=False)[:, ::2, 1:8, 3:-1]
    torch.testing.assert_close(gram(x), reference.gram(x))


@plain_only
def test_autocast_leaves_the_map_alone(feature_map, device):
    maps = [feature_map((1, 6, 3, 4)), feature_map((1, 6, 3, 4), torch.bfloat16)]
    with torch.autocast(device, torch.bfloat16):
        inside = [weighted_results(gram, x) for x in maps]
    for results, x in zip(inside, maps, strict=True):
        assert all(torch.equal(*pair) for pair in zip(results, weighted_results(gram, x), strict=True))


def test_an_empty_batch_gives_empty_results(feature_map):
    x = feature_map((0, 8, 3, 3))
    second, first, grad = weighted_results(gram, x)
    assert (second.shape, first.shape, grad.shape) == ((0, 8, 8), (0, 8), (0, 8, 3, 3))


@layouts
def test_same_input_same_bits(channels_last, feature_map):
    x = feature_map(MANY_TILES, channels_last=channels_last)
    for first, second in zip(weighted_results(gram, x), weighted_results(gram, x), strict=True):
        assert torch.equal(first, second)


@layouts
def test_saves_its_input_alone_and_copies_nothing(channels_last, feature_map, copies_of):
    x = feature_map((1, 16, 16, 24), channels_last=channels_last)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t):
        second, first = gram(x)
    assert saved == [x.data_ptr()]
    if not interpreted():  # the interpreter copies every argument
        assert copies_of(lambda: gram(x), x.numel()) == []
        assert copies_of(lambda: torch.autograd.grad([second.sum(), first.sum()], x), x.numel()) == []


def test_the_copy_watch_sees_a_copy(feature_map, copies_of):
    x = feature_map((1, 16, 16, 24))
    assert copies_of(lambda: x.permute(0, 2, 3, 1).contiguous(), x.numel())


@settings(max_examples=6 if interpreted() else 40, deadline=None)
@given(
    n=st.integers(1, 2),
    c=st.integers(1, 140),
    h=st.integers(1, 9),
    w=st.integers(2, 11),
    last=st.booleans(),
    data=st.data(),
)
def test_is_additive_over_pixels(n, c, h, w, last, data):
    """What makes a tiled pass over a large image exact."""
    x = torch.randn(n, c, h, w)
    x = x.to(memory_format=torch.channels_last) if last else x
    cut = data.draw(st.integers(1, w - 1))
    whole, left, right = gram(x), gram(x[..., :cut]), gram(x[..., cut:])
    for total, one, other in zip(whole, left, right, strict=True):
        torch.testing.assert_close(total, one + other, rtol=1e-5, atol=1e-4)


@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@plain_only
def test_opcheck(dtype, channels_last, feature_map):
    torch.library.opcheck(torch.ops.srzoo.gram, (feature_map((2, 9, 3, 5), dtype, channels_last),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(3, 4, 5), r"x.*\(N, C, H, W\).*\(3, 4, 5\)"),
        (lambda: torch.zeros(1, 3, 4, 5, dtype=torch.int64), r"int64.*x\.float\(\)"),
        (lambda: torch.zeros(1, 3, 0, 5), "x.*height 0, width 5.*1"),
        (lambda: torch.zeros(1, 0, 4, 5), r"channels.*\(1, 0, 4, 5\)"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        gram(make())


@pytest.mark.skipif(torch.cuda.is_available() and not interpreted(), reason="a GPU is not waited for")
def test_moments_that_are_not_finite_are_refused(feature_map):
    x = feature_map((2, 9, 5, 7), grad=False)
    x[1, 3, 2, 1], x[1, 8, 0, 0] = float("nan"), float("-inf")
    with pytest.raises(NonFiniteError, match=r"^x .*image 1\b.*\b2 of 315 .*float32.*3.4e.38"):
        gram(x)
    x = feature_map((2, 9, 5, 7), grad=False)
    x[0, 4] = 1e20
    with pytest.raises(NonFiniteError, match="^x .*image 0,.*1e.20.*float32"):
        gram(x)
    largest = torch.full((1, 4, 40, 50), 65504.0, dtype=torch.float16)
    assert gram(largest)[0].isfinite().all()


def test_counts_what_it_executes(feature_map):
    """C = 300 has twice 128 rows and 44; each multiplies the channels from its first on."""
    x = feature_map((2, 300, 3, 4))
    with FlopCounterMode(display=False) as forward:
        second, first = gram(x)
    assert forward.get_total_flops() == 2 * 2 * 12 * (128 * (300 + 172) + 44 * 44)
    with FlopCounterMode(display=False) as backward:
        (second.sum() + first.sum()).backward()
    assert backward.get_total_flops() == 2 * 2 * 12 * 300 * 300


@plain_only
def test_compiles_whole_and_once_for_every_size(feature_map):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(gram, backend=counter, fullgraph=True, dynamic=True)
    for size in [(5, 7), (8, 6), (33, 47)]:
        x = feature_map((2, 12, *size))
        for result, expected in zip(weighted_results(compiled, x), weighted_results(gram, x), strict=True):
            assert torch.equal(result, expected)
    assert counter.frame_count == 1


@plain_only
def test_traces_on_cuda_without_one():
    with torch._subclasses.FakeTensorMode():
        x = torch.empty(2, 16, 5, 7, device="cuda", dtype=torch.float16)
        second, first = gram(x)
    assert (second.device.type, second.dtype, second.shape, first.shape) == (
        "cuda",
        torch.float32,
        (2, 16, 16),
        (2, 16),
    )
