import copy

import pytest
import torch
from torch import nn

import srzoo
from srzoo.backbones import FeatureBackbone
from srzoo.layers import SqueezeReasoning
from srzoo.layers.context_head import ContextHead
from srzoo.layers.conv import conv_bn_relu
from srzoo.models import ZooModel
from srzoo.models.conv_act import ConvAct, ResidualBlock
from srzoo.models.folded_block import FoldedBlock
from srzoo.models.folding import fuse


def randomised(model: nn.Module) -> nn.Module:
    """The model with random statistics and scales, and with random matrices in its blocks."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.7, 1.4)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, SqueezeReasoning):
            for parameter in module.parameters():
                nn.init.normal_(parameter, std=0.05)
    return model.eval()


def logits_of(model, x):
    with torch.inference_mode():
        return model(x)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("srnet_lite0_camvid", {"pretrained": True}),
        ("srnet_lite0_camvid", {"context": "sr_released"}),
        ("srnet_lite0_camvid", {"context": "none"}),
        ("srnet", {"backbone": "resnet18", "num_classes": 5, "channels": 64, "nodes": 8}),
        ("srnet", {"backbone": "resnet18", "num_classes": 5, "channels": 64, "context": "ema"}),
        ("srnet", {"backbone": "convnext_atto", "num_classes": 5, "channels": 64, "nodes": 8}),
        ("srnet", {"backbone": "hrnet_w18_small", "num_classes": 5, "channels": 64, "nodes": 8}),
        ("dfseg_v1", {"num_classes": 5, "context": "sr"}),
        ("dfseg_v1", {"num_classes": 5}),
        ("fcn_lite0", {"num_classes": 5}),
    ],
)
def test_a_fused_model_is_equal(name, options):
    model = srzoo.create_model(name, **options)
    model = model.eval() if options.get("pretrained") else randomised(model)
    before = copy.deepcopy(model.state_dict())
    folded = fuse(model)
    for size in ((75, 101), (280, 300)):
        x = torch.randn(2, 3, *size)
        expected = logits_of(model, x)
        error = (logits_of(folded, x) - expected).abs().max() / expected.abs().max().clamp(min=1)
        assert error < 1e-4, f"{size}: {error:.1e}"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("place", ["backbone.body.conv1", "backbone.body.bn1", "head.context", "head.fuse.conv"])
def test_an_inserted_block_is_kept(place):
    model = srzoo.create_model("srnet", backbone="resnet18", num_classes=5, channels=64, nodes=8)
    model = randomised(srzoo.insert(model, place, nodes=8))
    x = torch.randn(1, 3, 224, 320)
    torch.testing.assert_close(logits_of(fuse(model), x), logits_of(model, x), rtol=1e-4, atol=1e-4)


def test_another_module_is_an_error():
    with pytest.raises(ValueError, match="fuse .*create_model.* got Conv2d"):
        fuse(nn.Conv2d(3, 8, 1))


class TwoBackbones(ZooModel):
    """A model whose parts have other names than those of srzoo's networks, and are nested deeper."""

    def __init__(self):
        super().__init__()
        first, second = (
            FeatureBackbone("resnet18", {"out_indices": (1, 2, 3)}, blocks=blocks)
            for blocks in ({"layer2": ("sr", {"nodes": 8})}, None)
        )
        self.streams = nn.ModuleList([first, second])
        head = ContextHead(conv_bn_relu(512, 64), SqueezeReasoning(64, nodes=8), conv_bn_relu(64, 32))
        shared = nn.Conv2d(32, 8, 3, padding=1)
        self.outputs = nn.ModuleDict(
            {"head": head, "a": nn.Sequential(shared, nn.BatchNorm2d(8)), "b": nn.Sequential(shared, nn.BatchNorm2d(8))}
        )

    def forward(self, x):
        y = self.outputs["head"](torch.cat([stream(x)[-1] for stream in self.streams], 1))
        return self.outputs["a"](y) + self.outputs["b"](y)


def test_parts_are_found_by_type_at_any_depth():
    model = randomised(TwoBackbones())
    folded = fuse(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert isinstance(folded.outputs["head"].fuse.conv, FoldedBlock)
    assert isinstance(folded.streams[0].body.layer2[1].context, SqueezeReasoning)
    for size in ((75, 101), (280, 300)):
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(logits_of(folded, x), logits_of(model, x), rtol=1e-4, atol=1e-4)


class Branching(nn.Module):
    """A module that torch.fx cannot trace, because it branches on values."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        return [self.bn(self.conv(x if x.mean() > 0 else -x))]


def test_a_backbone_that_torch_fx_cannot_trace_gives_a_warning(caplog):
    model = randomised(TwoBackbones())
    model.streams[0].body = Branching()
    folded = fuse(model)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].name == "srzoo" and "streams.0 " in caplog.text
    assert isinstance(folded.streams[0].body.bn, nn.BatchNorm2d)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.streams[1].modules())
    caplog.clear()
    without_norms = srzoo.create_model("srnet", backbone="convnext_atto", num_classes=5, channels=32, nodes=4)
    fuse(without_norms)
    assert not caplog.records


class Twice(nn.Module):
    """A convolution that is called twice, each time before another norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norms = nn.Conv2d(3, 8, 1), nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])

    def forward(self, x):
        return [self.norms[0](self.conv(x)) + self.norms[1](self.conv(x.flip(1)))]


def test_a_convolution_with_two_norms_is_not_folded():
    model = randomised(TwoBackbones())
    model.streams[0].body = randomised(Twice())
    x = torch.randn(1, 3, 9, 9)
    (ours,), (expected,) = (logits_of(each.streams[0].body, x) for each in (fuse(model), model))
    torch.testing.assert_close(ours, expected)


class Curious(nn.Module):
    """A network that reads attributes of its convolutions and norms, as those of timm's EdgeNeXt and DaViT do."""

    def __init__(self):
        super().__init__()
        self.first, self.bn, self.last = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 2, bias=False)
        self.second, self.norm, self.act = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, x):
        x = self.bn(self.first(nn.functional.pad(x, (self.first.kernel_size[0] // self.first.stride[0],) * 4)))
        x = self.act(self.last(x.to(self.last.weight.dtype)))
        return [self.norm(self.second(x)) * self.second.weight.sum() + self.norm.bias.sum()]


class Standardized(nn.Conv2d):
    """A convolution that standardizes its weights, as timm's ``StdConv2d`` does."""

    def forward(self, x):
        return self._conv_forward(x, self.weight / self.weight.std(), self.bias)


class TwoNames(nn.Module):
    """A convolution of two names, of which the second is called."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)
        self.same = nn.ModuleList([self.conv])

    def forward(self, x):
        return [self.bn(self.same[0](x))]


class OfStandardized(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = Standardized(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        return [self.bn(self.conv(x))]


@pytest.mark.parametrize("network", [Curious, OfStandardized, TwoNames])
def test_what_the_network_reads_or_computes_otherwise_is_left_alone(network):
    model = randomised(TwoBackbones())
    model.streams[0].body = randomised(network())
    x = torch.randn(1, 3, 9, 9)
    fused = fuse(fuse(model)).streams[0]
    assert sum(isinstance(part, nn.BatchNorm2d) for part in fused.modules()) == 1
    torch.testing.assert_close(logits_of(fused.body, x)[0], logits_of(model.streams[0].body, x)[0])


def test_a_backbone_whose_feature_has_no_module(tiny):
    """A feature that the network collects itself is none of a module that a block could follow."""
    model = randomised(tiny(backbone="test_vit", backbone_options={"dynamic_img_size": True}))
    x = torch.randn(1, 3, 96, 160)
    with torch.inference_mode():
        levels, expected = fuse(model).backbone(x), model.backbone(x)
    torch.testing.assert_close(levels, dict(expected))


@pytest.mark.parametrize("name", ["srnet_lite0_camvid", "srnet_r50_camvid", "dfseg_v1_camvid", "fcn_lite0_camvid"])
def test_every_batch_norm_is_folded(name):
    folded = fuse(srzoo.create_model(name))
    norms = [key for key, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [key for key in norms if not key.startswith("aux_head")] == []


@pytest.mark.parametrize("squeeze", ["hadamard", "average"])
@pytest.mark.parametrize("size", [(5, 4), (40, 33)])
def test_the_block_is_folded_above_the_break_even(squeeze, size):
    torch.manual_seed(0)
    block = SqueezeReasoning(32, nodes=4, squeeze=squeeze).double()
    nn.init.normal_(block.project.weight, std=0.2)
    conv = nn.Conv2d(32, 24, 3, padding=1).double()
    folded = FoldedBlock(block, conv)
    assert folded.fewest_pixels == 9 * 24 * 16 // 32
    x = torch.randn(3, 32, *size, dtype=torch.float64)
    torch.testing.assert_close(folded(x), conv(block(x)))
    assert folded(x[:0]).shape == (0, 24, *size)


def test_folded_block_under_autocast():
    block, conv = SqueezeReasoning(32, nodes=4), nn.Conv2d(32, 32, 3, padding=1)
    nn.init.normal_(block.project.weight, std=0.1)
    x = torch.randn(1, 32, 40, 40)
    expected = conv(block(x))
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        y = FoldedBlock(block, conv)(x.bfloat16())
    assert (y.float() - expected).norm() / expected.norm() < 2**-6


def test_batch_norms_of_a_feature_pyramid_are_folded(tiny):
    model = randomised(tiny(norm=True))
    assert any(isinstance(part, nn.BatchNorm2d) for part in model.backbone.fpn.modules())
    folded = fuse(model)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    x = torch.randn(1, 3, 97, 130)
    with torch.inference_mode():
        levels, expected = folded.backbone(x), model.backbone(x)
    assert levels.keys() == expected.keys()
    for name, level in levels.items():
        torch.testing.assert_close(level, expected[name], rtol=1e-4, atol=1e-4)


def test_a_block_is_folded_into_a_lateral_with_a_norm(tiny):
    model = randomised(tiny(norm=True, context="sr", context_places=(tiny().backbone.last_module,), nodes=8))
    folded = fuse(model)
    assert isinstance(folded.backbone.fpn.inner_blocks[-1][0], FoldedBlock)
    x = torch.randn(1, 3, 300, 330)
    with torch.inference_mode():
        levels, expected = folded.backbone(x), model.backbone(x)
    for name, level in levels.items():
        torch.testing.assert_close(level, expected[name], rtol=1e-4, atol=1e-4)


def _grouped(head):
    head.fuse.conv = nn.Conv2d(64, 32, 3, padding=1, groups=2)


def _without_fuse(head):
    head.fuse = nn.Identity()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_grouped, "2 groups"),
        (_without_fuse, "no convolution"),
        (lambda head: srzoo.insert(head, "context", nodes=8, example=torch.empty(1, 512, 9, 9)), "another block"),
    ],
)
def test_a_block_that_is_not_folded_is_logged(change, reason, caplog):
    model = TwoBackbones().eval()
    change(model.outputs["head"])
    with caplog.at_level("INFO", logger="srzoo"):
        fuse(model)
    lines = {record.args[0]: record.getMessage() for record in caplog.records}
    assert {"outputs.head.context", "streams.0.body.layer2.1.context"} <= lines.keys()
    assert reason in lines["outputs.head.context"]
    assert all("\n" not in line for line in lines.values())


def test_a_folded_block_is_not_logged(caplog):
    with caplog.at_level("INFO", logger="srzoo"):
        fuse(srzoo.create_model("srnet_lite0_camvid"))
    assert not caplog.records


@pytest.mark.parametrize("place", ["backbone.fpn.inner_blocks.{last}.0", "{block}"])
def test_a_block_behind_the_lateral_or_the_block_is_kept(tiny, place):
    model = tiny(context="sr", context_places=(tiny().backbone.last_module,), nodes=8)
    block = next(name for name, part in model.named_modules() if isinstance(part, SqueezeReasoning))
    place = place.format(last=len(model.backbone.strides) - 1, block=block)
    model = randomised(srzoo.insert(model, place, nodes=8))
    x = torch.randn(1, 3, 300, 330)
    with torch.inference_mode():
        levels, expected = fuse(model).backbone(x), model.backbone(x)
    for name, level in levels.items():
        torch.testing.assert_close(level, expected[name], rtol=1e-4, atol=1e-4)


def test_the_copy_has_the_dtype():
    model = randomised(srzoo.create_model("srnet_lite0_camvid", channels=32, nodes=4))
    x = torch.randn(1, 3, 64, 96)
    assert logits_of(fuse(model, dtype=torch.bfloat16), x.bfloat16()).dtype == torch.bfloat16
    assert next(model.parameters()).dtype == torch.float32
    half = copy.deepcopy(model).half()
    expected = logits_of(copy.deepcopy(half).double(), x.double())
    torch.testing.assert_close(logits_of(fuse(half, dtype=torch.float64), x.double()), expected)  # widened, then folded
    for dtype in (torch.int8, torch.float8_e4m3fn, "float16"):
        with pytest.raises(ValueError, match="dtype="):
            fuse(model, dtype=dtype)


def test_what_follows_a_convolution_is_part_of_it():
    """But not where a hook is told of it."""
    model = randomised(srzoo.create_model("srnet", backbone="resnet18", num_classes=5, channels=64, nodes=8))
    calls, x = [], torch.randn(1, 3, 75, 101)
    for name in ("layer2.0", "layer3.1.conv1", "layer4.0.act1"):
        module = model.backbone.body.get_submodule(name)
        module.register_forward_hook(lambda *of, name=name: calls.append((name, type(of[2]))))
    fused = fuse(model)
    convs = [part for part in fused.modules() if isinstance(part, ConvAct)]
    kinds = {(type(each.activation), isinstance(each.conv, nn.Conv2d)) for each in convs}
    assert kinds == {(nn.ReLU, True), (type(None), True)}
    blocks = [part for part in fused.modules() if isinstance(part, ResidualBlock)]
    assert len(blocks) == 5  # of eight, of which three have a hook
    expected = logits_of(model, x)
    calls.clear()
    torch.testing.assert_close(logits_of(fused, x), expected, rtol=1e-4, atol=1e-4)
    assert [name for name, kind in calls if kind is torch.Tensor] == ["layer2.0", "layer3.1.conv1", "layer4.0.act1"]
    torch.testing.assert_close(logits_of(copy.deepcopy(fused), x), expected, rtol=1e-4, atol=1e-4)


def test_a_fused_model_can_be_fused_again(caplog):
    model = randomised(srzoo.create_model("srnet", backbone="densenet121", num_classes=5, channels=64, nodes=8))
    x = torch.randn(1, 3, 75, 101)
    again = fuse(fuse(model))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    torch.testing.assert_close(logits_of(again, x), logits_of(model, x), rtol=1e-4, atol=1e-4)
