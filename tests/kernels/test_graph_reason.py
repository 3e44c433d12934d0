"""Both reasoning operators against ``reference.py``; ``test_interpreter.py`` runs this file again on Triton."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

import srzoo_kernels
from srzoo_kernels.graph_reason import reference
from srzoo_kernels.launch import interpreted
from tests.kernels.properties import given, settings, st

plain_only = pytest.mark.skipif(interpreted(), reason="too slow, or not traced, in the interpreter")
both = pytest.mark.parametrize("name", ["graph_reason", "attention_reason"])
# n, k, d; the last is beyond what one Triton program holds
SIZES = [(1, 1, 1), (2, 5, 7), (3, 16, 16), (1, 32, 3), (2, 4, 64), (0, 4, 8), (2, 70, 4)]


def operands_for(name, n, k, d, dtype=torch.float32, device="cpu"):
    """The squeezed vector and the parameters, scaled so that the output is of order one."""
    generator = torch.Generator().manual_seed(n + k + d)
    sides = (k, d) if name == "graph_reason" else (d, d, d)
    tensors = [torch.randn(n, k * d, generator=generator)]
    tensors += [torch.randn(side, side, generator=generator) / side**0.5 for side in sides]
    return [each.to(device, dtype).requires_grad_() for each in tensors]


def with_gradients(function, operands):
    z = function(*operands)
    weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(z)
    return z, *torch.autograd.grad(z, operands, weight)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_is_as_accurate_as_the_library(name, size, dtype, device, assert_accurate):
    operands = operands_for(name, *size, dtype, device)
    function, plain = getattr(srzoo_kernels, name), getattr(reference, name)
    results = with_gradients(function, operands)
    assert [each.dtype for each in results] == [dtype] * len(results)
    own = with_gradients(plain, operands)
    # At the rectifier a rounded sign changes the gradient by its whole size: the judge is given the same signs.
    exact = with_gradients(
        lambda *double: Rectified.apply(unrectified(name, *double), results[0].detach()),
        [each.detach().double().requires_grad_() for each in operands],
    )
    own = [
        own[0],
        *with_gradients(lambda *same: Rectified.apply(unrectified(name, *same), results[0].detach()), operands)[1:],
    ]
    assert_accurate(results, own, exact, dtype)


class Rectified(torch.autograd.Function):
    """ReLU whose gradient passes where another computation's output was positive."""

    @staticmethod
    def forward(ctx, value, passed):
        ctx.save_for_backward(passed)
        return value.relu()

    @staticmethod
    def backward(ctx, grad):
        return grad.masked_fill(ctx.saved_tensors[0] <= 0, 0), None


def unrectified(name, g, *matrices):
    """Eq. 5 or Eq. 6 before the ReLU, written with the nodes as columns as the paper has them."""
    d = matrices[-1].shape[0]
    columns = g.unflatten(1, (-1, d)).mT
    if name == "graph_reason":
        adjacency, weight = matrices
        out = weight @ columns @ (torch.eye(len(adjacency), dtype=g.dtype, device=g.device) - adjacency)
    else:
        query, key, value = matrices
        out = (value @ columns) @ ((query @ columns).mT @ (key @ columns))
    return out.mT.flatten(1)


@both
@pytest.mark.parametrize("size", SIZES, ids=str)
@plain_only
def test_float64_equals_the_reference(name, size):
    operands = operands_for(name, *size, torch.float64)
    results = with_gradients(getattr(srzoo_kernels, name), operands)
    expected = with_gradients(getattr(reference, name), operands)
    torch.testing.assert_close(results, expected, rtol=1e-12, atol=1e-12)


@both
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_several_vectors_at_once(name):
    operands = operands_for(name, 2, 5, 7, torch.float32)
    z, vectors = getattr(srzoo_kernels, name)(*operands), torch.randn(3, *operands[0].shape)
    together = torch.autograd.grad(z, operands, vectors, is_grads_batched=True, retain_graph=True)
    alone = [torch.autograd.grad(z, operands, each, retain_graph=True) for each in vectors]
    for found, expected in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


@both
def test_reference_is_the_equation_of_the_paper(name):
    operands = operands_for(name, 2, 5, 7, torch.float64)
    torch.testing.assert_close(getattr(reference, name)(*operands), unrectified(name, *operands).relu())


@both
@settings(max_examples=5 if interpreted() else 40, deadline=None)
@given(n=st.integers(1, 3), k=st.integers(1, 40), d=st.integers(1, 40))
def test_any_size(name, n, k, d):
    operands = operands_for(name, n, k, d)
    results = with_gradients(getattr(srzoo_kernels, name), operands)
    expected = with_gradients(getattr(reference, name), operands)
    signs_agree = (results[0] > 0) == (expected[0] > 0)
    torch.testing.assert_close(results[0], expected[0], rtol=1e-4, atol=1e-4)
    if signs_agree.all():
        torch.testing.assert_close(results[1:], expected[1:], rtol=1e-3, atol=1e-3)


@both
def test_gradients_without_strides(name, device):
    operands = operands_for(name, 3, 5, 7, device=device)
    grads = torch.autograd.grad(getattr(srzoo_kernels, name)(*operands).sum(), operands)
    expected = torch.autograd.grad(getattr(reference, name)(*operands).sum(), operands)
    torch.testing.assert_close(grads, expected, rtol=1e-4, atol=1e-4)


@both
def test_transposed_operands_are_read_right(name, device):
    g, *matrices = (each.detach() for each in operands_for(name, 4, 4, 4, device=device))
    operands = [g.mT.contiguous().mT, *(each.mT for each in matrices)]
    torch.testing.assert_close(getattr(srzoo_kernels, name)(*operands), getattr(reference, name)(*operands))


@both
def test_nan_stays_nan(name, device):
    operands = [each.detach() for each in operands_for(name, 2, 4, 4, device=device)]
    operands[-1].fill_(torch.nan)
    assert getattr(srzoo_kernels, name)(*operands).isnan().all()


@both
def test_same_input_same_bits(name, device):
    operands = operands_for(name, 5, 16, 16, device=device)
    runs = [with_gradients(getattr(srzoo_kernels, name), operands) for _ in range(2)]
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@both
def test_is_float32_under_autocast(name, device):
    operands = operands_for(name, 2, 4, 8, device=device)
    function = getattr(srzoo_kernels, name)
    with torch.autocast(device, torch.bfloat16):
        inside = with_gradients(function, operands)
        halves = [each.detach().bfloat16() for each in operands]
        assert function(*halves).dtype == torch.float32
        # A convolution's output meets float32 parameters there.
        assert torch.equal(function(halves[0], *operands[1:]), function(halves[0].float(), *operands[1:]))
    assert all(torch.equal(*pair) for pair in zip(inside, with_gradients(function, operands), strict=True))


@both
def test_opcheck(name, device):
    torch.library.opcheck(getattr(torch.ops.srzoo, name), tuple(operands_for(name, 2, 3, 4, device=device)))


def test_bad_input_is_refused():
    g, square = torch.zeros(2, 12), torch.zeros(4, 4)
    with pytest.raises(ValueError, match=r"square.*adjacency.*\(3, 4\)"):
        srzoo_kernels.graph_reason(g, torch.zeros(3, 4), square)
    with pytest.raises(ValueError, match=r"g .*\(N, nodes \* 5\).*\(2, 12\)"):
        srzoo_kernels.graph_reason(g, square, torch.zeros(5, 5))
    with pytest.raises(ValueError, match="g.*12.*4 nodes.*4 channels.*16"):
        srzoo_kernels.graph_reason(g, square, square)
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(3, 3\)"):
        srzoo_kernels.attention_reason(g, square, square, torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"g .*\(N, nodes \* 4\).*\(12,\)"):
        srzoo_kernels.attention_reason(torch.zeros(12), square, square, square)
    with pytest.raises(ValueError, match="floating g.*int64"):
        srzoo_kernels.attention_reason(g.long(), square, square, square)


@both
def test_mixed_dtypes_and_devices_are_refused(name):
    g, *matrices = operands_for(name, 2, 4, 4)
    with pytest.raises(ValueError, match="one dtype.*float32.*float16"):
        getattr(srzoo_kernels, name)(g, *matrices[:-1], matrices[-1].half())
    with pytest.raises(ValueError, match="(weight|value).*cpu.*meta"):
        getattr(srzoo_kernels, name)(g, *matrices[:-1], matrices[-1].to("meta"))


@pytest.mark.parametrize(
    ("name", "forward", "backward"), [("graph_reason", 3 + 5, 9 + 10), ("attention_reason", 15 + 6, 45 + 15)]
)
def test_counts_what_it_executes(name, forward, backward):
    """Per image ``k d`` times so many multiply-adds, at three nodes of five channels."""
    operands = operands_for(name, 2, 3, 5)
    with FlopCounterMode(display=False) as there:
        z = getattr(srzoo_kernels, name)(*operands)
    with FlopCounterMode(display=False) as back:
        z.sum().backward()
    assert (there.get_total_flops(), back.get_total_flops()) == (2 * 2 * 15 * forward, 2 * 2 * 15 * backward)


@both
@plain_only
def test_compiles_whole(name):
    counter = CompileCounterWithBackend("aot_eager")
    function = getattr(srzoo_kernels, name)
    compiled = torch.compile(function, backend=counter, fullgraph=True, dynamic=True)
    for n in (2, 3, 4):
        operands = operands_for(name, n, 4, 8)
        runs = [with_gradients(each, operands) for each in (compiled, function)]
        # Not bit for bit: BLAS orders a sum by where its operands lie in memory.
        torch.testing.assert_close(*runs, rtol=1e-5, atol=1e-6)
    assert counter.frame_count == 1


@both
@pytest.mark.skipif(torch.cuda.is_available() and not interpreted(), reason="a GPU is not waited for")
def test_a_squeezed_vector_that_is_not_finite_is_refused(name):
    g, *matrices = (each.detach() for each in operands_for(name, 3, 4, 6))
    g[1, 5:8] = float("nan")
    with pytest.raises(ValueError, match=r"^g .*image 1\b.*\b3 of 24 "):
        getattr(srzoo_kernels, name)(g, *matrices)
