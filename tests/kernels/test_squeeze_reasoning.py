"""The block as one operator, against ``reference.py``; ``test_interpreter.py`` runs this file on the Triton kernels."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import (
    NonFiniteError,
    squeeze_reasoning,
    squeeze_reasoning_weights,
)
from srzoo_kernels.launch import A100, B200, H100, MI300, interpreted
from srzoo_kernels.squeeze_reasoning import reference
from tests.kernels.block_operands import SHAPES, composed, weights_of

plain_only = pytest.mark.skipif(interpreted(), reason="too slow, or not traced, in the interpreter")
layouts = pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
DTYPES = [
    (torch.float32, torch.float32),
    (torch.float16, torch.float16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float32),
]


@pytest.fixture(params=[True, False], ids=["deterministic", "library"])
def deterministic(request):
    """Whether the map is applied by the operator's own kernel in half precision too."""
    torch.use_deterministic_algorithms(request.param)  # until `_poisoned_memory` ends
    return request.param


def folded_operands(x, weights, outputs=6, channels_last=False):
    """The operands of `squeeze_reasoning_weights` for a 3x3 convolution."""
    transform, pair, project, *squares = weights
    base = torch.randn(outputs, x.shape[1], 3, 3, generator=torch.Generator().manual_seed(1)) / 10
    base = base.to(transform)
    projected = torch.einsum("ocij,cr->oijr", base, project.flatten(1)).flatten(0, 2).contiguous()
    if channels_last:
        base = base.to(memory_format=torch.channels_last)
    return (x, transform, pair, projected, *squares, base)


def doubled(operands):
    return [each.double() for each in operands]


@layouts
@pytest.mark.parametrize(("dtype", "weight_dtype"), DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "k", "d"), SHAPES, ids=str)
def test_is_as_accurate_as_the_composed_form(
    shape, k, d, dtype, weight_dtype, channels_last, deterministic, feature_map, assert_accurate
):
    x = feature_map(shape, dtype, channels_last, grad=False)
    weights = weights_of(shape[1], k, d, weight_dtype, x.device)
    y = squeeze_reasoning(x, *weights)
    form = torch.channels_last if channels_last else torch.contiguous_format
    assert y.dtype == dtype and y.is_contiguous(memory_format=form)
    exact = reference.squeeze_reasoning(*doubled((x, *weights)))
    own = reference.squeeze_reasoning(x, *(each.to(dtype) for each in weights))
    assert_accurate([y], [own], [exact], dtype)
    # What the block adds, too, which is the smaller part.
    added, expected = y.double() - x.double(), exact - x.double()
    assert (added - expected).norm() <= 16 * torch.finfo(dtype).eps * exact.norm()


@layouts
@pytest.mark.parametrize(("dtype", "weight_dtype"), DTYPES[::3], ids=str)
@pytest.mark.parametrize(("shape", "k", "d", "outputs"), [(*SHAPES[0], 6), (*SHAPES[2], 90)], ids=str)
def test_folded_weights(shape, k, d, outputs, dtype, weight_dtype, channels_last, feature_map):
    x = feature_map(shape, dtype, channels_last, grad=False)
    weights = weights_of(shape[1], k, d, weight_dtype, x.device)
    operands = folded_operands(x, weights, outputs, channels_last)
    found, exact = squeeze_reasoning_weights(*operands), reference.squeeze_reasoning_weights(*doubled(operands))
    assert found.dtype == dtype and found.shape == exact.shape == (shape[0], outputs, shape[1], 3, 3)
    assert all(each.is_contiguous(memory_format=torch.channels_last) == channels_last for each in found)
    assert (found.double() - exact).norm() <= 8 * torch.finfo(dtype).eps * exact.norm()


def test_the_folded_convolution_is_the_convolution_of_the_block(feature_map, device):
    x = feature_map((1, 24, 6, 5), grad=False)
    weights = weights_of(24, 3, 4, torch.float32, device)
    *operands, base = folded_operands(x, weights)
    (folded,) = squeeze_reasoning_weights(*operands, base)
    expected = F.conv2d(squeeze_reasoning(x, *weights), base, padding=1)
    torch.testing.assert_close(F.conv2d(x, folded, padding=1), expected, rtol=1e-4, atol=1e-5)


@plain_only
def test_float64_and_large_sides_take_the_composed_form(feature_map, device):
    x = feature_map((2, 12, 3, 5), torch.float64, grad=False)
    weights = weights_of(12, 2, 3, torch.float64, device)
    torch.testing.assert_close(squeeze_reasoning(x, *weights), reference.squeeze_reasoning(x, *weights))
    x = feature_map((1, 12, 3, 5), grad=False)
    weights = weights_of(12, 66, 1, torch.float32, device)
    expected = reference.squeeze_reasoning(x, *weights)
    torch.testing.assert_close(squeeze_reasoning(x, *weights), expected, rtol=1e-4, atol=1e-5)


@dtypes
def test_odd_strides_are_read_right(dtype, deterministic, feature_map, device):
    """A slice that is neither contiguous nor aligned, transposed weights, weights without the convolution's sides."""
    x = feature_map((2, 9, 8, 9), dtype, grad=False)[:, 1:, 1:, ::2]
    weights = weights_of(8, 2, 3, dtype, device)
    flat = [each.flatten(1).T.contiguous().T for each in weights]
    torch.testing.assert_close(squeeze_reasoning(x, *flat), squeeze_reasoning(x.contiguous(), *weights))


@layouts
@dtypes
def test_same_input_same_bits_and_changed_weights_are_seen(dtype, channels_last, deterministic, feature_map, device):
    x = feature_map((1, 24, 7, 5), dtype, channels_last, grad=False)
    weights = weights_of(24, 3, 4, dtype, device)
    first = squeeze_reasoning(x, *weights)
    assert not torch.equal(first, x) and torch.equal(first, squeeze_reasoning(x, *weights))
    weights[2].zero_()
    assert torch.equal(squeeze_reasoning(x, *weights), x)


@plain_only
def test_frozen_weights_give_the_same_bits(feature_map, device):
    x = feature_map((8, 128, 7, 5), grad=False)
    weights = weights_of(128, 16, 4, torch.float32, device)
    with torch.no_grad():
        trained = squeeze_reasoning(x, *(each.clone().requires_grad_() for each in weights))
        assert torch.equal(trained, squeeze_reasoning(x, *weights))


@pytest.mark.skipif(not interpreted() and not torch.cuda.is_available(), reason="refused on a CPU")
@dtypes
def test_nan_reaches_every_pixel(dtype, deterministic, feature_map, device):
    x = feature_map((2, 24, 3, 4), dtype, grad=False)
    x[0, 3, 1, 2] = float("nan")
    weights = weights_of(24, 3, 4, dtype, device)
    y, clean = squeeze_reasoning(x, *weights), squeeze_reasoning(x[1:], *weights)
    assert y[0].isnan().all() and torch.equal(y[1:], clean)


def test_an_empty_batch_gives_an_empty_result(device):
    x = torch.empty(0, 24, 7, 5, device=device)
    weights = weights_of(24, 3, 4, torch.float32, device)
    assert squeeze_reasoning(x, *weights).shape == x.shape
    assert squeeze_reasoning_weights(*folded_operands(x, weights)).shape == (0, 6, 24, 3, 3)


@plain_only
def test_autocast_leaves_the_dtypes_alone(feature_map, device):
    x = feature_map((1, 24, 7, 5), torch.bfloat16, grad=False)
    weights = weights_of(24, 3, 4, torch.float32, device)
    with torch.autocast(device, torch.bfloat16):
        inside = squeeze_reasoning(x, *weights)
    assert torch.equal(inside, squeeze_reasoning(x, *weights))


@layouts
@plain_only
def test_opcheck(channels_last, feature_map, device):
    x = feature_map((2, 24, 3, 5), channels_last=channels_last, grad=False)
    weights = weights_of(24, 3, 4, torch.float32, device)
    torch.library.opcheck(torch.ops.srzoo.squeeze_reasoning, (x, *weights))
    operands = folded_operands(x, weights, channels_last=channels_last)
    torch.library.opcheck(torch.ops.srzoo.squeeze_reasoning_weights, operands)


@plain_only
def test_compiles_whole_and_once_for_every_size(feature_map, device):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(squeeze_reasoning, backend=counter, fullgraph=True, dynamic=True)
    weights = weights_of(24, 3, 4, torch.float32, device)
    for size in [(5, 7), (8, 6), (33, 47)]:
        x = feature_map((2, 24, *size), grad=False)
        assert torch.equal(compiled(x, *weights), squeeze_reasoning(x, *weights))
    assert counter.frame_count == 1


def test_counts_what_the_composed_form_counts(feature_map, device):
    x = feature_map((2, 24, 3, 4), grad=False)
    weights = weights_of(24, 3, 4, torch.float32, device)
    counts = []
    for form in (squeeze_reasoning, composed):
        with FlopCounterMode(display=False) as counter:
            form(x, *weights)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_a_gradient_of_the_folded_weights_is_refused(feature_map, device):
    x = feature_map((1, 24, 3, 4))
    operands = folded_operands(x, weights_of(24, 3, 4, torch.float32, device))
    with pytest.raises(ValueError, match=r"no gradient.*no_grad"):
        squeeze_reasoning_weights(*operands)
    with torch.no_grad():
        assert not squeeze_reasoning_weights(*operands).requires_grad


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: x[0], r"x.*\(N, C, H, W\).*\(24, 3, 4\)"),
        (0, lambda x: x[:, :23], r"transform.*\(12, 23\).*3 nodes of 4.*\(12, 24, 1, 1\)"),
        (2, lambda w: w[:8], r"pair.*\(12, 24\).*\(8, 24, 1, 1\)"),
        (3, lambda w: w[:8], r"project.*\(24, 12\).*\(8, 12, 1, 1\)"),
        (4, lambda a: a[:2], r"adjacency.*\(2, 3\)"),
        (4, lambda a: a[0, 0], r"adjacency.*\(\)"),
        (5, lambda w: w[0, 0], r"weight.*\(\)"),
        (5, lambda w: w.half(), r"one dtype.*float32.*float16"),
        (5, lambda w: w.to("meta"), r"weight.*meta"),
    ],
)
def test_bad_operands_are_refused(index, change, message, feature_map, device):
    x = feature_map((1, 24, 3, 4), grad=False)
    operands = [x, *weights_of(24, 3, 4, torch.float32, device)]
    squeeze_reasoning(*operands)
    operands[index] = change(operands[index])
    for _ in range(2):  # a plan that failed is not kept
        with pytest.raises(ValueError, match=message):
            squeeze_reasoning(*operands)


def test_a_base_that_is_no_convolution_s_is_refused(feature_map, device):
    *operands, base = folded_operands(
        feature_map((1, 24, 3, 4), grad=False), weights_of(24, 3, 4, torch.float32, device)
    )
    with pytest.raises(ValueError, match=r"base.*\(N, 24, H, W\).*\(6,\)"):
        squeeze_reasoning_weights(*operands, base[:, 0, 0, 0])


@plain_only
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is not waited for")
def test_what_is_not_finite_is_refused_on_a_cpu(feature_map, device):
    x = feature_map((1, 24, 3, 4), grad=False)
    x[0, 3, 1, 2] = float("inf")
    with pytest.raises(NonFiniteError, match="^x .*image 0"):
        squeeze_reasoning(x, *weights_of(24, 3, 4, torch.float32, device))


@plain_only
def test_traces_on_cuda_without_one():
    with torch._subclasses.FakeTensorMode():
        x = torch.empty(2, 24, 5, 7, device="cuda", dtype=torch.float16)
        weights = weights_of(24, 3, 4, torch.float16, "cuda")
        y = squeeze_reasoning(x, *weights)
        folded = squeeze_reasoning_weights(*folded_operands(x, weights))
    assert (y.device.type, y.dtype, y.shape) == ("cuda", torch.float16, x.shape)
    assert (folded.device.type, folded.shape) == ("cuda", (2, 6, 24, 3, 3))


@plain_only
@layouts
@dtypes
def test_five_launches_and_four(dtype, channels_last, deterministic, idle, feature_map, copies_of):
    x = feature_map((2, 128, 33, 40), dtype, channels_last, grad=False).cpu()  # for a driver that is no GPU's
    weights = weights_of(128, 16, 4, dtype, "cpu")
    reasoned = ["pixel_product_kernel", "squeeze_kernel", "reason_kernel", "map_kernel"]
    applied = ["channel_map_kernel"] if deterministic or dtype == torch.float32 else []  # else cuBLAS
    for _ in range(2):
        idle.launches.clear()
        y = squeeze_reasoning(x, *weights)
        assert [each.kernel for each in idle.launches] == reasoned + applied
        assert (y.shape, y.dtype, y.stride()) == (x.shape, x.dtype, x.stride())
    assert copies_of(lambda: squeeze_reasoning(x, *weights), x.numel()) == []
    idle.launches.clear()
    squeeze_reasoning_weights(*folded_operands(x, weights))
    assert [each.kernel for each in idle.launches] == reasoned


@pytest.mark.slow
@plain_only
@pytest.mark.parametrize("target", [A100, H100, B200, MI300], ids=lambda target: str(target.arch))
@pytest.mark.parametrize(("k", "d"), [(16, 16), (16, 32), (64, 16), (64, 2)])
def test_no_shape_spills(target, k, d):
    pytest.importorskip("triton")
    from srzoo_kernels.ahead_of_time._triton import compile_launches
    from srzoo_kernels.squeeze_reasoning._triton import plan_block_matrix

    for dtype in (torch.float16, torch.float32):
        x = torch.empty(1, 512, 128, 256, dtype=dtype, device="meta")
        weights = [each.to("meta") for each in weights_of(512, k, d, dtype, "cpu")]
        launches, _ = plan_block_matrix(x, *weights, dtype != torch.float32, target)
        for report in compile_launches((each, target) for each in launches[1:]):
            assert report.spills == 0
