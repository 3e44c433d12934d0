import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from srzoo.layers import SqueezeReasoning
from srzoo.layers.reasoning import REASONING
from srzoo.layers.squeeze_reasoning import SQUEEZE

pytestmark = pytest.mark.usefixtures("form")
CHOICES = list(itertools.product(SQUEEZE, REASONING))


def block(*args, dtype=torch.float64, **kwargs) -> SqueezeReasoning:
    """A block with random matrices: a new one's projection is zero, and its reasoning the identity."""
    torch.manual_seed(0)
    module = SqueezeReasoning(*args, **kwargs)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.to(dtype)


def test_a_new_block_is_the_identity_and_no_relu_is_dead():
    torch.manual_seed(0)
    module = SqueezeReasoning(24, nodes=4)
    x = torch.randn(3, 24, 7, 5)
    assert torch.equal(module(x), x)
    assert (module.reason(x) > 0).all()
    loss = module(x).sum() + module.reason(x).sum()
    loss.backward()
    assert all(parameter.grad.any() for parameter in module.reasoning.parameters())


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 47)])
@pytest.mark.parametrize(("squeeze", "reasoning"), CHOICES)
def test_both_forms_agree_in_values_and_all_gradients(squeeze, reasoning, size, both_forms):
    module = block(24, nodes=4, squeeze=squeeze, reasoning=reasoning)
    x = torch.randn(2, 24, *size, dtype=torch.float64, requires_grad=True)
    results = both_forms(module, x)
    assert all(gradient.abs().max() > 0 for gradient in results[1][:2])
    for value, expected in zip(*results):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11)


def test_hadamard_and_graph_agree_with_the_paper_s_equations_in_a_loop():
    module = block(12, reduction=3, nodes=2)
    x = torch.randn(1, 12, 3, 5, dtype=torch.float64)
    pixels = x[0].flatten(1).T  # a row for each pixel
    w_t, w_p, w_r = (layer.weight.flatten(1) for layer in (module.transform, module.pair, module.project))
    g = torch.zeros(4, dtype=torch.float64)
    for pixel in pixels:  # Eq. 4, as a mean
        g += (w_t @ pixel) * (w_p @ pixel) / len(pixels)
    nodes = g.view(2, 2).T  # G of Eq. 5: a column for each node
    identity = torch.eye(2, dtype=torch.float64)
    z = torch.relu(module.reasoning.weight @ nodes @ (identity - module.reasoning.adjacency)).T.flatten()
    expected = torch.stack([pixel + w_r @ (z * (w_t @ pixel)) for pixel in pixels], 1)  # Eq. 7
    torch.testing.assert_close(module(x)[0].flatten(1), expected)


@pytest.mark.parametrize("squeeze", SQUEEZE)
def test_context_is_global(squeeze):
    module = block(16, nodes=4, squeeze=squeeze)
    x = torch.randn(1, 16, 9, 9, dtype=torch.float64)
    far = x.clone()
    far[..., 8, 8] += 3
    assert (module(far) - module(x))[..., 0, 0].abs().max() > 1e-6


def test_new_block_is_the_identity_and_learns():
    module = SqueezeReasoning(32)
    x = torch.randn(2, 32, 8, 8)
    torch.testing.assert_close(module(x), x, rtol=0, atol=0)
    module(x).square().sum().backward()
    assert module.project.weight.grad.abs().max() > 0


def test_channels_last_is_kept_and_agrees():
    module = block(16, nodes=4, dtype=torch.float32)
    x = torch.randn(2, 16, 7, 5)
    y = module(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("squeeze", SQUEEZE)
def test_half_precision_with_values_whose_sum_would_overflow(squeeze):
    module = block(16, nodes=4, squeeze=squeeze, dtype=torch.float32)
    x = torch.randn(1, 16, 64, 64) * 8 + 20  # sums of squares beyond 65504
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).norm() / expected.norm() < 2**-6


@pytest.mark.parametrize("reasoning", REASONING)
def test_a_block_in_half_precision_reasons_in_float32(reasoning):
    module = block(16, nodes=4, reasoning=reasoning, dtype=torch.float16)
    with torch.no_grad():
        module.transform.weight.mul_(10)
        module.pair.weight.copy_(module.transform.weight)
        wide = copy.deepcopy(module).float()  # with the same rounded weights
        x = (torch.randn(1, 16, 6, 7) * 20 + 80).half()
        z, expected = module.reason(x), wide.reason(x.float())
    assert expected.abs().max() > torch.finfo(torch.float16).max
    assert (z - expected).norm() < 1e-2 * expected.norm()


def test_parameter_counts_of_table_3():
    counts = {
        squeeze: sum(p.numel() for p in SqueezeReasoning(512, squeeze=squeeze).parameters()) for squeeze in SQUEEZE
    }
    assert counts == {"average": 2 * 512 * 256 + 2 * 16 * 16, "hadamard": 3 * 512 * 256 + 2 * 16 * 16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 10, "reduction": 4}, "channels=10 .*reduction=4"),
        ({"channels": 24, "nodes": 5}, "24/2 = 12 .*nodes=5"),
        ({"channels": 32, "squeeze": "max"}, "squeeze 'max'.* hadamard, average"),
        ({"channels": 32, "reasoning": "gcn"}, "reasoning 'gcn'.* graph, "),
        ({"channels": 0}, "channels .*1, got 0"),
        ({"channels": 32, "nodes": -4}, "nodes .*1, got -4"),
    ],
)
def test_construction_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SqueezeReasoning(**options)


@pytest.mark.parametrize("shape", [(2, 16, 8), (2, 15, 8, 8), (2, 16, 0, 8)])
def test_input_errors(shape):
    with pytest.raises(ValueError, match=r"\(N, 16, H, W\), got .*\(2, 1|height 0, width 8"):
        SqueezeReasoning(16, nodes=4)(torch.zeros(shape))


def test_compiles_without_a_graph_break_and_at_a_second_size():
    module = block(16, nodes=4, dtype=torch.float32)
    compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)
    for size in ((9, 7), (12, 5)):
        x = torch.randn(2, 16, *size)
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "is_few"), [((15, 6), True), ((16, 6), False)])
def test_a_map_of_few_pixels_is_reduced_first(size, is_few):
    module = block(24, nodes=4)
    assert module.has_few_pixels(torch.empty(1, 24, *size)) in (is_few, False)  # never in the form "matrices"


@pytest.mark.parametrize("squeeze", SQUEEZE)
def test_reasoned_vector_is_the_same_in_both_forms(squeeze, monkeypatch):
    module, x = block(24, nodes=4, squeeze=squeeze), torch.randn(2, 24, 5, 7, dtype=torch.float64)
    found = module.reason(x)
    monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)
    torch.testing.assert_close(found, module.reason(x))


@pytest.fixture
def operators_of():
    """Names of srzoo's operators that a call runs, and its result."""

    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.namespace == "srzoo":
                self.names.append(function.name().removeprefix("srzoo::"))
            return function(*args, **(kwargs or {}))

    def run(call):
        with Names() as mode:
            result = call()
        return result, mode.names

    return run


class Scaled(SqueezeReasoning):
    def squeeze_vector(self, x, moments=None):
        return 3 * super().squeeze_vector(x, moments)


def halved(module):
    return parametrize.register_parametrization(module.transform, "weight", Halving()) and module


class Halving(nn.Module):
    def forward(self, weight):
        return weight / 2


def hooked(module):
    module.reasoning.register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


def hooked_backward(module):
    module.reasoning.register_full_backward_hook(lambda module, inputs, outputs: None)
    return module


def test_the_block_is_one_operator_of_the_same_values(operators_of, monkeypatch):
    monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)
    module, x = block(24, nodes=4, dtype=torch.float32), torch.randn(2, 24, 5, 7)
    expected, names = operators_of(lambda: module(x, module.moments(x)))
    assert names == ["gram", "graph_reason", "channel_affine"]
    y, names = operators_of(lambda: module(x))
    assert names == ["squeeze_reasoning_training"] and torch.equal(y, expected)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y, names = operators_of(lambda: module(x))
        assert names == ["squeeze_reasoning"] and torch.equal(y, expected)
    frozen = copy.deepcopy(module).requires_grad_(False)
    assert operators_of(lambda: frozen(x))[1] == ["squeeze_reasoning"]
    assert operators_of(lambda: frozen(x.clone().requires_grad_()))[1] == ["squeeze_reasoning_training"]


@pytest.mark.parametrize(
    ("change", "is_whole"),
    [
        (lambda module: module, True),
        (halved, True),
        (hooked, False),
        (hooked_backward, False),
        (lambda module: Scaled(24, nodes=4), False),
        (lambda module: block(24, nodes=4, squeeze="average", dtype=torch.float32), False),
        (lambda module: block(24, nodes=4, reasoning="attention", dtype=torch.float32), False),
    ],
)
def test_what_reaches_into_the_block_is_respected(change, is_whole, operators_of, monkeypatch):
    monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)
    module, x = change(block(24, nodes=4, dtype=torch.float32)), torch.randn(2, 24, 5, 7)
    nn.init.normal_(module.project.weight, std=0.2)
    expected, names = operators_of(lambda: module(x))
    assert ("squeeze_reasoning_training" in names) == is_whole
    with torch.no_grad():
        y, names = operators_of(lambda: module(x))
        assert ("squeeze_reasoning" in names) == is_whole
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
        with module.given(module.moments(3 * x)):
            given, names = operators_of(lambda: module(x))
        assert "squeeze_reasoning" not in names and not torch.equal(given, y)


def test_one_call_of_the_block_costs_four_launches(monkeypatch):
    pytest.importorskip("triton")
    from srzoo_kernels.idle_driver._triton import idle_driver

    monkeypatch.setattr("srzoo.layers.squeeze_reasoning._FEW", 0)
    module, x = block(64, dtype=torch.float16), torch.randn(1, 64, 8, 9).half()
    with idle_driver() as idle, torch.inference_mode():
        for _ in range(2):
            before = idle.count
            module(x)
            assert idle.count == before + 4
