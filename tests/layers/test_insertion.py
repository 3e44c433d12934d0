import copy
import io
import pickle

import pytest
import timm
import torch
import torchvision
from torch import fx, nn

import srzoo
from srzoo.layers import CONTEXT_MODULES, ReleasedSqueezeReasoning, SqueezeReasoning

segmentation = torchvision.models.segmentation


def resnet(**options) -> nn.Module:
    torch.manual_seed(0)
    kinds = torchvision.models.resnet
    return kinds.ResNet(kinds.BasicBlock, [1, 1, 1, 1], **options).eval()


def deeplab() -> nn.Module:
    return segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None).eval()


def unet() -> nn.Module:
    smp = pytest.importorskip("segmentation_models_pytorch")
    return smp.Unet("resnet18", encoder_weights=None, decoder_channels=(128, 64, 32, 32, 16)).eval()


@pytest.mark.parametrize(
    ("build", "name", "options", "inside", "channels"),
    [
        (resnet, "layer4.0", {}, "layer4.0", 512),
        (resnet, "layer3", {"nodes": 8, "squeeze": "average"}, "layer3.0", 256),
        (lambda: timm.create_model("convnext_atto").eval(), "stages.2", {"nodes": 8}, "stages.2", 160),
        (lambda: torchvision.models.mobilenet_v3_small().eval(), "features.12", {"nodes": 4}, "features.12.2", 576),
        (deeplab, "backbone.16", {"nodes": 8}, "backbone.16.2", 960),
        (deeplab, "classifier.0", {}, "classifier.0", 256),
        (unet, "decoder.blocks.0", {}, "decoder.blocks.0", 128),
    ],
)
@torch.inference_mode()
def test_a_new_block_is_called_and_changes_no_output(build, name, options, inside, channels):
    model = build()
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(1, 3, 64, 96)
    expected = model(x)
    assert srzoo.insert(model, name, **options) is model
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    added = after.keys() - before.keys()
    assert added and all(key.startswith(f"{inside}.context.") for key in added)
    block = model.get_submodule(f"{inside}.context")
    assert isinstance(block, SqueezeReasoning) and block.channels == channels
    calls = []
    block.register_forward_hook(lambda *arguments: calls.append(arguments))
    logits = [y["out"] if isinstance(y, dict) else y for y in (model(x), expected)]
    assert torch.equal(*logits) and len(calls) == 1


@pytest.fixture(scope="module")
def extended():
    """A ResNet with a block whose projection is not zero, an input and its logits."""
    model = srzoo.insert(resnet(num_classes=5), "layer3", nodes=8)
    nn.init.normal_(model.layer3[0].context.project.weight, std=0.1)
    x = torch.randn(2, 3, 49, 71)
    return model, x, model(x).detach()


def through_a_file(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), through_a_file],
    ids=["copy", "pickle", "file"],
)
def test_copies_are_equal_and_independent(again, extended):
    model, x, expected = extended
    other = again(model)
    assert torch.equal(other(x), expected)
    assert type(other.layer3[0]) is type(model.layer3[0]) and isinstance(other.layer3[0], type(model.layer2[0]))
    nn.init.zeros_(other.layer3[0].context.project.weight)
    assert torch.equal(model(x), expected)


def test_state_dict_round_trip(extended):
    model, x, expected = extended
    other = srzoo.insert(resnet(num_classes=5), "layer3", nodes=8)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), expected)


def test_a_checkpoint_without_the_block_loads():
    plain = resnet()
    result = srzoo.insert(resnet(), "layer4.0").load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys and all(".context." in key for key in result.missing_keys)


def test_compiles_without_a_graph_break(extended):
    model, x, expected = extended
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(compiled(x[:, :, :40, :60]), model(x[:, :, :40, :60]))


def test_exports(extended):
    model, x, expected = extended
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), expected)
    assert program.state_dict.keys() == model.state_dict().keys()


def test_traces_with_the_block_as_a_leaf(extended):
    model, x, expected = extended

    class Tracer(fx.Tracer):
        def is_leaf_module(self, module, name):
            return isinstance(module, SqueezeReasoning) or super().is_leaf_module(module, name)

    graph = Tracer().trace(model)
    assert [node.target for node in graph.nodes if "context" in str(node.target)] == ["layer3.0.context"]
    torch.testing.assert_close(fx.GraphModule(model, graph)(x), expected)


def test_the_block_trains_in_place():
    model = srzoo.insert(resnet(num_classes=5).train().requires_grad_(False), "layer4.0")
    assert model.layer4[0].context.training
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        name for name, _ in model.named_parameters() if ".context." in name
    }


@pytest.mark.parametrize("context", [name for name, module in CONTEXT_MODULES.items() if module is not None])
def test_an_activation_in_place_may_follow_any_context(context):
    """As behind the identity: the BatchNorm of a stem is followed by one."""
    model = srzoo.insert(resnet(num_classes=5).train(), "bn1", context)
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None for p in model.bn1.parameters())


def test_finding_the_channels_does_not_change_the_model():
    model = resnet().train()
    model.layer1.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    before = copy.deepcopy(model.state_dict())
    calls = []
    model.layer2.register_forward_hook(lambda *arguments: calls.append(arguments[1][0].device.type))
    srzoo.insert(model, "layer1.0", nodes=8)
    assert set(calls) <= {"meta"}
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert {name: m.training for name, m in model.named_modules() if ".context" not in name} == modes
    assert not model.layer1[0].context.training


@pytest.mark.parametrize(("dtype", "device"), [("bfloat16", "cpu"), ("float64", "cpu"), ("float32", "meta")])
def test_the_block_gets_the_dtype_and_device_of_the_model(dtype, device):
    dtype = getattr(torch, dtype)
    model = srzoo.insert(resnet().to(device, dtype), "layer2", nodes=8)
    assert {(p.dtype, p.device.type) for p in model.parameters()} == {(dtype, device)}
    assert model(torch.zeros(1, 3, 64, 64, dtype=dtype, device=device)).shape == (1, 1000)


@pytest.mark.parametrize("block", [module for module in CONTEXT_MODULES.values() if module])
def test_every_context_module_can_be_inserted(block):
    model = srzoo.insert(nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU()), "0", block).eval()
    assert model(torch.randn(2, 3, 9, 7)).shape == (2, 64, 9, 7)


def test_other_blocks_and_inputs():
    model = nn.Sequential(nn.Conv2d(5, 48, 3), nn.ReLU())
    srzoo.insert(model, "0", ReleasedSqueezeReasoning, torch.empty(1, 5, 20, 30), nodes=4)
    assert isinstance(model[0].context, ReleasedSqueezeReasoning)
    assert model(torch.randn(1, 5, 9, 8)).shape == (1, 48, 7, 6)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Conv2d(3, 32, 1), nn.Conv2d(3, 32, 1)

    def forward(self, x):
        return self.used(x)


def test_a_name_instead_of_a_model():
    with pytest.raises(ValueError, match="nn.Module, got 'resnet18'"):
        srzoo.insert("resnet18", "layer4")


@pytest.mark.parametrize(
    ("build", "name", "message"),
    [
        (resnet, "layer4.5", "ResNet .*'layer4.5'.*'layer4.0'"),
        (resnet, "layer4.0.relu", "'layer4.0.relu' 2 .*once"),
        (resnet, "fc", r"'fc' .*\(1, 1000\).*\(N, C, H, W\)"),
        (resnet, "conv1", r"'conv1'.* \(1, 64, 112, 112\): .*nodes=48"),
        (Unused, "spare", "'spare' never"),
        (
            lambda: torchvision.models.swin_t(),
            "features.7",
            r"'features.7.1' .*\(1, 7, 7, 768\), channels last.*\(N, C, H, W\)",
        ),
        (lambda: torchvision.models.vit_b_16(), "encoder.ln", r"'encoder.ln' .*\(1, 197, 768\);.*\(N, C, H, W\)"),
        (lambda: torchvision.models.densenet121(), "features.denseblock2", "'features.denseblock2' .*container"),
        (lambda: nn.LSTM(224, 8), "", r"LSTM .*\(1, 3, 224, 224\).*example="),
        (lambda: nn.Conv2d(1, 8, 3), "", r"Conv2d .*\(1, 3, 224, 224\).*example="),
    ],
)
def test_invalid_modules(build, name, message):
    with torch.device("meta"):
        model = build()
    before = {key: type(module) for key, module in model.named_modules()}
    with pytest.raises(ValueError, match=message):
        srzoo.insert(model, name, nodes=48)
    assert {key: type(module) for key, module in model.named_modules()} == before


@pytest.mark.parametrize("size", [(224, 224), (224, 256), (250, 190)])
def test_channels_last_is_detected_at_any_proportions(size):
    with torch.device("meta"):
        model = torchvision.models.swin_t()
    with pytest.raises(ValueError, match=r"\(1, \d+, \d+, 768\), channels last"):
        srzoo.insert(model, "features.7", example=torch.empty(1, 3, *size))
    srzoo.insert(model, "features.0.0", nodes=8, example=torch.empty(1, 3, *size))
    assert model.features[0][0].context.channels == 96


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (
            SqueezeReasoning(512),
            {},
            "block .*class.* SqueezeReasoning$",
        ),
        (3, {}, "block .*class.* int$"),
        (lambda channels: channels, {}, "block .*nn.Module, got int"),
        (lambda channels: nn.Conv2d(channels, 7, 1), {}, r"\(1, 512, 7, 7\): .*block .*\(1, 7, 7, 7\)"),
        ("psp", {"out_channels": 8}, r"\(1, 512, 7, 7\): .*block .*\(1, 8, 7, 7\)"),
        (SqueezeReasoning, {"nodes": 3.5}, r"nodes .*1, got 3\.5"),
        (SqueezeReasoning, {"nods": 3}, "'nods'; it takes reduction, nodes, squeeze, reasoning; did you mean 'nodes'"),
        ("se", {"nodes": 3}, "'nodes'; it takes reduction$"),
        (Unused, {}, "takes 1 positional argument"),
    ],
)
def test_invalid_blocks(block, options, message):
    model = resnet()
    before = set(model.state_dict())
    with pytest.raises(ValueError, match=message):
        srzoo.insert(model, "layer4", block, **options)
    assert set(model.state_dict()) == before


def test_scripted_and_compiled_models_are_an_error():
    for model in (torch.jit.script(nn.Sequential(nn.Conv2d(3, 64, 1))), torch.compile(resnet(), backend="eager")):
        with pytest.raises(ValueError, match="scripted or compiled.*before"):
            srzoo.insert(model, "0")


def test_a_module_with_two_names():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 64, 1)
            self.second = self.first

        def forward(self, x):
            return self.second(x)

    model = srzoo.insert(Tied(), "second")
    assert isinstance(model.first.context, SqueezeReasoning)


def test_a_sequential_that_ends_in_a_shared_module():
    """The block would have to follow the last activation, but the model calls that twice."""
    activation = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 64, 1), activation, nn.Conv2d(64, 64, 1), activation)
    with pytest.raises(ValueError, match="'3' 2 "):
        srzoo.insert(model, "")


def test_a_model_with_several_inputs():
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 1)

        def forward(self, image, depth):
            return self.conv(image * depth)

    example = (torch.empty(1, 3, 20, 30), torch.empty(1, 1, 20, 30))
    assert srzoo.insert(Fused(), "conv", example=example).conv.context.channels == 64
    with pytest.raises(ValueError, match=r"\(1, 3, 224, 224\) on the meta device .*'depth'.*example="):
        srzoo.insert(Fused(), "conv")


def test_two_blocks_after_one_module():
    model = srzoo.insert(resnet(), "layer4")
    with pytest.raises(ValueError, match="'layer4.0' .*context"):
        srzoo.insert(model, "layer4.0")
    srzoo.insert(model, "layer3")  # after another module it is valid
    srzoo.insert(model, "layer4.0.context")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_a_module_that_returns_a_tuple():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return self.pair(x)[0]

    with pytest.raises(ValueError, match="'pair' .*tuple;.*tensor"):
        srzoo.insert(Net(), "pair")


def test_a_detector_whose_later_code_depends_on_values():
    """On the meta device the paper's Mask R-CNN fails in its proposals, long after the module."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    with torch.device("meta"):
        model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    srzoo.insert(model, "backbone.body.layer4")
    assert model.backbone.body.layer4[-1].context.channels == 2048


def test_a_block_given_by_name():
    model = srzoo.insert(resnet(), "layer4", "nl", reduction=4)
    assert isinstance(model.layer4[-1].context, srzoo.layers.NonLocal)
    with pytest.raises(ValueError, match="'layer3.0'.*'nonlocal'.* nl, "):
        srzoo.insert(model, "layer3", "nonlocal")
    with pytest.raises(ValueError, match="'layer3.0'.*'nodez'"):
        srzoo.insert(model, "layer3", nodez=3)
    with pytest.raises(ValueError, match=r"example .*tensor.*\['int'"):
        srzoo.insert(model, "layer3", example=(1, 3, 64, 64))
