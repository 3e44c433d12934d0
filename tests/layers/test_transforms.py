"""torch.fx, torch.jit.script and torch.func on networks with context modules."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, grad_and_value, hessian, jacrev, jvp, vmap
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

import srzoo
from srzoo.layers import CONTEXT_MODULES
from srzoo_kernels import upsample_cross_entropy

# PyTorch's, of its attention on a CPU.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")
NAMES = [name for name, module in CONTEXT_MODULES.items() if module is not None]


def context(name, channels=64):
    torch.manual_seed(0)
    options = {"out_channels": channels} if name in ("aspp", "psp") else {}
    module = CONTEXT_MODULES[name](channels, **options).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)
    return module


def by_autograd(module, x):
    """Gradients of a loss in the parameters."""
    loss = module(x).square().mean()
    return dict(zip(dict(module.named_parameters()), torch.autograd.grad(loss, list(module.parameters())), strict=True))


def loss_of(module):
    return lambda parameters, x: functional_call(module, parameters, (x,)).square().mean()


@pytest.mark.parametrize("name", ["srnet_lite0_camvid", "srnet_mask_rcnn_lite0_facade"])
def test_networks_of_the_zoo_say_what_to_use_in_place_of_fx(name):
    model = srzoo.create_model(name).eval()
    for network in (model, model.backbone):
        with pytest.raises(TypeError, match=r"torch\.export.*srzoo\.export_program.*register_forward_hook"):
            create_feature_extractor(network, ["backbone"])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is (deprecated|not supported)")
def test_what_torch_script_cannot_compile_is_told_in_one_line():
    with torch.device("meta"):
        networks = [srzoo.create_model(name) for name in ("srnet_lite0_camvid", "srnet_mask_rcnn_lite0_facade")]
    other = srzoo.insert(resnet18(), "layer4", lambda channels: nn.Conv2d(channels, channels, 1))
    for module in (*map(context, NAMES), *networks, other):
        instead = r"srzoo\.export_program or srzoo\.export_onnx" if module in networks else r"torch\.export\.export"
        with pytest.raises(TypeError, match=rf"^torch\.jit\.script cannot compile .*take {instead}$"):
            torch.jit.script(nn.Sequential(module))


@pytest.mark.parametrize("name", ["sr", "sr_released"])
def test_a_block_is_a_leaf_of_fx(name):
    module, x = context(name), torch.rand(2, 64, 9, 13)
    traced = torch.fx.symbolic_trace(nn.Sequential(module, nn.ReLU()))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]
    assert torch.equal(traced(x), module(x).relu())


def test_moments_of_another_map_stay_in_the_graph():
    block = context("sr")

    class Tiled(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, x, moments):
            return self.block(x, moments)

    x, whole = torch.rand(1, 64, 9, 13), torch.rand(1, 64, 30, 30)
    moments = block.moments(whole)
    assert torch.equal(torch.fx.symbolic_trace(Tiled())(x, moments), block(x, moments))
    with pytest.raises(TypeError, match="alone"):
        torch.fx.symbolic_trace(block)


@pytest.mark.parametrize("name", NAMES)
def test_others_are_leaves_where_they_are_called_so(name):
    network = nn.Sequential(nn.ReLU(), context(name)).eval()
    if "sr" not in name:
        with pytest.raises(TypeError, match="leaf_modules"):
            torch.fx.symbolic_trace(network)
    leaves = {"leaf_modules": [CONTEXT_MODULES[name]]}
    x = torch.rand(1, 64, 9, 13)
    assert torch.equal(create_feature_extractor(network, ["1"], tracer_kwargs=leaves)(x)["1"], network(x))


@pytest.mark.parametrize("name", ["sr", "nl", "psp"])
def test_features_of_a_network_with_a_block(name):
    model = srzoo.insert(resnet18(weights=None), "layer3", name).eval()
    x = torch.rand(1, 3, 67, 85)
    features = create_feature_extractor(model, {"layer3": "c4", "layer4": "c5"})(x)
    c4 = nn.Sequential(*list(model.children())[:7])(x)
    assert torch.equal(features["c4"], c4)
    assert torch.equal(features["c5"], model.layer4(c4))


@pytest.mark.parametrize("size", [(9, 13), (21, 33)])  # the reduced maps, and the C x C matrices
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_each_image(name, size):
    module, x = context(name), torch.rand(3, 64, *size)
    parameters = {key: value.detach() for key, value in module.named_parameters()}
    each = vmap(grad(lambda p, one: loss_of(module)(p, one[None])), (None, 0))(parameters, x)
    for i in range(len(x)):
        for key, expected in by_autograd(module, x[i : i + 1]).items():
            torch.testing.assert_close(each[key][i], expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["sr", "sr_released", "da"])
def test_other_transforms_of_what_has_operators(name):
    module, x = context(name).double(), torch.rand(2, 64, 18, 17, dtype=torch.float64)
    torch.testing.assert_close(vmap(lambda one: module(one[None]))(x)[:, 0], module(x))
    direction = torch.randn_like(x)
    if name == "da":  # PyTorch's attention has no forward derivative on a CPU
        return
    step = 1e-6
    difference = (module(x + step * direction) - module(x - step * direction)) / (2 * step)
    torch.testing.assert_close(jvp(module, (x,), (direction,))[1], difference, atol=1e-5, rtol=1e-4)
    scale = torch.ones((), dtype=torch.float64)
    found = jacrev(lambda s: module(s * x).square().mean())(scale)
    copy = scale.clone().requires_grad_()
    torch.testing.assert_close(found, torch.autograd.grad(module(copy * x).square().mean(), copy)[0])
    assert hessian(lambda s: module(s * x).square().mean())(scale).isfinite()  # plain autograd refuses it


def test_gradient_of_the_loss():
    logits, target = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 23, 30))
    target[1, :, :9] = 255
    leaf = logits.clone().requires_grad_()
    options = {"weight": torch.rand(5), "label_smoothing": 0.1}
    expected = torch.autograd.grad(upsample_cross_entropy(leaf, target, **options), leaf)[0]
    torch.testing.assert_close(grad(lambda x: upsample_cross_entropy(x, target, **options))(logits), expected)
    for dtype in (torch.float16, torch.float64):
        value, gradient = grad_and_value(lambda x: upsample_cross_entropy(x, target, **options))(logits.to(dtype))[::-1]
        torch.testing.assert_close(value, upsample_cross_entropy(logits.to(dtype), target, **options))
        torch.testing.assert_close(gradient, expected.to(dtype), rtol=1e-2, atol=1e-5)
    unlabelled = torch.full_like(target, 255)
    assert not grad(lambda x: upsample_cross_entropy(x, unlabelled))(logits).any()
    assert vmap(lambda x, y: upsample_cross_entropy(x[None], y[None]))(logits, target).shape == (2,)


def test_transforms_inside_of_what_is_compiled():
    block, x = context("sr"), torch.randn(1, 64, 17, 17)
    target = torch.randint(64, (1, 20, 20))
    for function in (lambda x: block(x).square().sum(), lambda x: upsample_cross_entropy(x, target)):
        compiled = torch.compile(grad(function), backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), grad(function)(x))
