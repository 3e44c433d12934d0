"""Tests of all context modules alike. What each of them computes is tested in its own file."""

import pytest
import torch
from torch import nn

from srzoo import create_model
from srzoo.layers import CONTEXT_MODULES, PYRAMIDS, SqueezeReasoning, build_context

MODULES = [name for name in CONTEXT_MODULES if name != "none"]
FORMS = [(n, form) for n in MODULES for form in ("forward", "forward_direct") if hasattr(CONTEXT_MODULES[n], form)]
IDENTITY_AT_FIRST = ["sr", "nl", "a2", "cgnl", "rcca", "da"]
CHANNELS = 64
# 32 nodes, the default, would have one channel each, and a norm of two values gives only -1 and 1.
OPTIONS = {"sr_released": {"nodes": 8}}

every_module = pytest.mark.parametrize("name", MODULES)


def module_of(name: str) -> nn.Module:
    """A module without zero parameters, which a new one has and which would hide its other parts."""
    torch.manual_seed(0)
    module = build_context(name, CHANNELS, **OPTIONS.get(name, {}))
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return module


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 5), (33, 47)])
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_shape_is_kept_at_batch_size_1(name, form, size, training):
    x = torch.randn(1, CHANNELS, *size)
    y = getattr(module_of(name).train(training), form)(x)
    assert y.shape == x.shape
    assert y.isfinite().all()


@every_module
def test_gradients_reach_the_input_and_every_parameter(name):
    module = module_of(name)
    x = torch.randn(2, CHANNELS, 7, 5, requires_grad=True)
    (module(x) * torch.randn_like(x)).sum().backward()
    leaves = {"x": x, **dict(module.named_parameters())}
    assert [key for key, leaf in leaves.items() if leaf.grad is None or leaf.grad.abs().max() < 1e-7] == []


@every_module
def test_output_at_one_corner_depends_on_the_opposite_corner(name):
    module = module_of(name).eval()
    x = torch.randn(1, CHANNELS, 9, 8)
    far = x.clone()
    far[..., 8, 7] += 3
    assert (module(far) - module(x))[..., 0, 0].abs().max() > 1e-6


@every_module
def test_channels_last_agrees(name):
    module = module_of(name).eval()
    x = torch.randn(2, CHANNELS, 7, 5)
    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), module(x), rtol=1e-4, atol=1e-5)


@every_module
def test_under_autocast(name):
    module = module_of(name)
    x = torch.randn(2, CHANNELS, 17, 15)
    expected = module.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x.bfloat16())
        module.train()(x.bfloat16()).float().square().mean().backward()
    assert (y.float() - expected).norm() / expected.norm() < 2**-6
    assert all(p.grad.isfinite().all() for p in module.parameters())


@every_module
def test_compiles_without_a_graph_break_and_at_a_second_size(name):
    compare_compiled(module_of(name).eval(), "eager", 1e-5)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@every_module
def test_trains_compiled_at_a_second_size(name, backend):
    """In float64, because in float32 rounding decides the sign of values before a ReLU or a norm of few values."""
    compare_compiled(module_of(name).double().train(), backend, 1e-6)


def compare_compiled(module: nn.Module, backend: str, tolerance: float) -> None:
    """Compare values, gradients, and the buffers that a forward pass updates: running statistics and EMA's bases."""
    compiled = torch.compile(module, fullgraph=True, backend=backend, dynamic=True)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    dtype = next(module.parameters()).dtype
    for size in ((9, 7), (12, 5)):
        x = torch.randn(2, CHANNELS, *size, dtype=dtype)
        results = []
        for form in (module, compiled):
            module.load_state_dict(state)
            leaf = x.clone().requires_grad_()
            y = form(leaf)
            gradients = torch.autograd.grad(y.square().sum(), (leaf, *module.parameters()))
            results.append((y, *gradients, *(value.clone() for value in module.state_dict().values())))
        for value, expected in zip(*results):
            torch.testing.assert_close(value, expected, rtol=max(tolerance, 1e-4), atol=tolerance)


@every_module
def test_exports_with_any_height_and_width(name):
    module = module_of(name).eval()
    size = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(module, (torch.randn(2, CHANNELS, 9, 8),), dynamic_shapes=(size,))
    x = torch.randn(2, CHANNELS, 6, 11)
    torch.testing.assert_close(program.module()(x), module(x), rtol=1e-4, atol=1e-5)


@every_module
def test_state_dict_makes_an_equal_module(name):
    module = module_of(name)
    module(torch.randn(2, CHANNELS, 7, 5))  # updates statistics and bases
    other = build_context(name, CHANNELS, **OPTIONS.get(name, {}))
    other.load_state_dict(module.state_dict())
    x = torch.randn(2, CHANNELS, 7, 5)
    torch.testing.assert_close(other.eval()(x), module.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", IDENTITY_AT_FIRST)
def test_a_new_residual_module_is_the_identity(name):
    x = torch.randn(2, CHANNELS, 7, 5)
    torch.testing.assert_close(build_context(name, CHANNELS)(x), x, rtol=0, atol=0)


@every_module
def test_in_the_head_of_a_model(name):
    with torch.device("meta"):
        model = create_model("srnet_r50", num_classes=3, context=name)
        logits = model(torch.empty(1, 3, 65, 97))
    assert logits.shape == (1, 3, 65, 97)
    assert type(model.head.context) is CONTEXT_MODULES[name]
    assert isinstance(model.head.reduce, nn.Identity) == (name in PYRAMIDS)


def test_build_context_passes_options_to_the_class():
    module = build_context("sr", 64, nodes=8)
    assert isinstance(module, SqueezeReasoning)
    assert (module.channels, module.nodes) == (64, 8)
    assert isinstance(build_context("none", 64), nn.Identity)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nonlocal", {}, "'nonlocal'.* sr, sr_released, nl"),
        ("none", {"nodes": 8}, "'none'.* nodes$"),
        ("sr", {"nodes": 7}, "64/2 = 32 .*nodes=7"),
        ("nl", {"reduction": 7}, "channels=64 .*reduction=7"),
        ("a2", {"heads": 5}, "channels=32 .*heads=5"),
        ("cgnl", {"groups": 5}, "channels=32 .*groups=5"),
        ("cgnl", {"kernel": "gauss"}, "kernel 'gauss'.* dot, rbf"),
        ("cgnl", {"kernel": "rbf", "order": 0}, "order .*1, got 0"),
        ("rcca", {"recurrences": 2.5}, r"recurrences .*1, got 2\.5"),
        ("rcca", {"recurrences": 0}, "recurrences .*1, got 0"),
        ("da", {"reduction": 0}, "reduction .*1, got 0"),
        ("ema", {"momentum": None}, "momentum .*0 to 1, got None"),
        ("ema", {"iterations": 0}, "iterations .*1, got 0"),
        ("se", {"reduction": 128}, "channels=64 .*reduction=128"),
        ("aspp", {"rates": (6, 0)}, r"rates .*1, got \(6, 0\)"),
        ("psp", {"bins": (1, 2, 3)}, "channels=64 .*bins=3"),
        ("psp", {"bins": ()}, "bins .*1, got 0"),
    ],
)
def test_errors_have_the_value_and_the_limit(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_context(name, 64, **options)


@pytest.mark.parametrize("shape", [(2, 64, 8), (2, 63, 8, 8), (2, 64, 0, 8)])
@pytest.mark.parametrize(("name", "form"), [pair for pair in FORMS if "sr" not in pair[0]])
def test_input_errors(name, form, shape):
    with pytest.raises(ValueError, match=r"\(N, 64, H, W\), got .*\(2, 6|height 0, width 8.* 1$"):
        getattr(build_context(name, 64), form)(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (40, 41)])  # the block computes with few pixels in another way
@pytest.mark.parametrize("name", sorted({*MODULES} - {*PYRAMIDS, "ema"}))  # those end in a ReLU, as which they behave
def test_what_follows_may_change_the_output_in_place(name, size, channels_last, dtype):
    module = module_of(name).to(dtype).train()
    x = torch.randn(2, CHANNELS, *size, dtype=dtype, requires_grad=True)
    given = x.to(memory_format=torch.channels_last) if channels_last else x
    gradients = []
    for inplace in (False, True):
        y = module(given)
        y = nn.functional.relu(y.add_(1) if inplace else y + 1, inplace=inplace)
        gradients.append(torch.autograd.grad(y.square().float().sum(), [x, *module.parameters()], allow_unused=True))
    for ours, expected in zip(*gradients):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


class _Pair(nn.Identity):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("own", "found"),
    [
        (lambda channels: nn.MaxPool2d(2), "24, 32"),
        (lambda channels: nn.Conv2d(channels, 2 * channels, 1), "128, 48"),
        (_Pair, "a tuple"),
    ],
)
def test_a_context_of_ones_own_keeps_the_shape(own, found, monkeypatch):
    monkeypatch.setitem(CONTEXT_MODULES, "own", own)
    with pytest.raises(ValueError, match=rf"context='own'.*{found}.*\(2, 64, 48, 64\)"):
        build_context("own", CHANNELS)
    monkeypatch.setitem(CONTEXT_MODULES, "own", lambda channels: nn.Conv2d(channels, channels, 3, padding=1))
    build_context("own", CHANNELS)
