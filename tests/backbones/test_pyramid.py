import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srzoo.backbones.features import FeatureBackbone
from srzoo.backbones.pyramid import PyramidBackbone, default_places, stem_and_stages


def shapes(backbone, size=(64, 96)):
    with torch.no_grad():
        return {name: tuple(level.shape) for name, level in backbone.eval()(torch.randn(2, 3, *size)).items()}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_levels(name):
    backbone = PyramidBackbone(name, {}, 24)
    sides = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert list(shapes(backbone).items()) == [
        (key, (2, 24, *side)) for key, side in zip(("0", "1", "2", "3", "pool"), sides)
    ]
    assert backbone.level_strides == [4, 8, 16, 32, 64]
    assert backbone.level_names == ["0", "1", "2", "3"]


@pytest.mark.parametrize("options", [{}, {"out_indices": (0, 2, 3, 4)}, {"out_indices": 3}])
def test_features_without_a_level_are_not_kept(options):
    """timm keeps each feature until the last is computed; the levels are the same."""
    whole, backbone = FeatureBackbone("test_resnet", options).eval(), PyramidBackbone("test_resnet", options, 8).eval()
    backbone.body.load_state_dict(whole.body.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = [each for each, stride in zip(whole(x), whole.strides) if stride >= 4]
        found = FeatureBackbone.forward(backbone, x)
    assert len(found) == len(wanted) and all(map(torch.equal, found, wanted))
    assert backbone.strides == [each for each in whole.strides if each >= 4]


def test_pyramid_by_hand():
    """1x1 laterals, nearest upsampling of the sum above, 3x3 outputs, and a subsampling of the last."""
    torch.manual_seed(0)
    backbone = PyramidBackbone("test_resnet", {}, 8).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        found = backbone(x)
        features = FeatureBackbone.forward(backbone, x)[-4:]
        inner = [conv(f) for conv, f in zip(backbone.fpn.inner_blocks, features)]
        for i in (2, 1, 0):
            inner[i] = inner[i] + F.interpolate(inner[i + 1], size=inner[i].shape[-2:], mode="nearest")
        for i, conv in enumerate(backbone.fpn.layer_blocks):
            torch.testing.assert_close(found[str(i)], conv(inner[i]))
    assert torch.equal(found["pool"], found["3"][:, :, ::2, ::2])
    assert not [part for part in backbone.fpn.modules() if isinstance(part, (nn.BatchNorm2d, nn.ReLU))]


@pytest.mark.parametrize(
    ("name", "context", "places", "options"),
    [
        ("resnet50", "sr", ["layer4.0.act2", "layer4.1.act2", "layer4.2.act2"], {"reduction": 4}),
        ("resnext101_32x4d", "sr", ["layer4.0.act2", "layer4.1.act2", "layer4.2.act2"], {"reduction": 8}),
        ("resnet50", "nl", ["layer4.0", "layer4.1", "layer4.2"], {}),
        ("resnet18", "sr", ["layer4.0.act2", "layer4.1.act2"], {"reduction": 4}),
        ("tf_efficientnet_lite0", "sr", ["blocks.6"], {}),
    ],
)
def test_places_of_the_block(name, context, places, options):
    with torch.device("meta"):
        backbone = PyramidBackbone(name, {}, 8, context)
        plain = PyramidBackbone(name, {}, 8)
    assert default_places(plain, context) == (tuple(places), options)
    found = [n.removesuffix(".context") for n, _ in backbone.body.named_modules() if n.endswith(".context")]
    assert len(found) == len(places)
    if name.startswith("resne"):
        # insert puts a block behind the last layer of a stage; a stage of timm's ResNet is called by its own name.
        assert found == places
    reductions = {
        m.channels // m.transform.out_channels
        for m in backbone.body.modules()
        if type(m).__name__ == "SqueezeReasoning"
    }
    assert reductions == ({options.get("reduction", 2)} if context == "sr" else set())


def test_own_places_and_options():
    backbone = PyramidBackbone("test_resnet", {}, 8, "sr", ("layer3.0",), {"nodes": 4, "reduction": 2})
    (place,) = [name for name, _ in backbone.body.named_modules() if name.endswith(".context")]
    block = backbone.body.get_submodule(place)
    assert place.startswith("layer3.0")
    assert (block.nodes, block.reduction) == (4, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test_resnet", {}, 0), "channels"),
        (("test_resnet", {}, 8, "none", None, {"nodes": 4}), "context='none' takes no options, got nodes"),
        (("test_resnet", {}, 8, "sr", ("layer9",)), "layer9"),
        (("test_resnet", {}, 8, "rs"), "rs"),
        (("test_resnet", {"out_indices": (0,)}, 8), "stride of 4|stride 4|no feature"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PyramidBackbone(*arguments)


def test_a_last_module_that_timm_does_not_name():
    with torch.device("meta"):
        assert PyramidBackbone("test_vit", {"dynamic_img_size": True}, 8).last_module == "model.blocks.5"
        assert PyramidBackbone("mvitv2_tiny", {}, 8).last_module is None  # timm says "block.3", which there is not
        with pytest.raises(ValueError, match="context_places"):
            PyramidBackbone("mvitv2_tiny", {}, 8, "sr")
        PyramidBackbone("resnest14d", {}, 8, "sr")  # whose conv2 is none


def test_last_module_is_read_by_the_last_lateral_alone():
    torch.manual_seed(0)
    backbone = PyramidBackbone("test_resnet", {}, 8).eval()
    module = backbone.body.get_submodule(backbone.last_module)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = FeatureBackbone.forward(backbone, x)
        handle = module.register_forward_hook(lambda module, inputs, output: output + 1)
        after = FeatureBackbone.forward(backbone, x)
        handle.remove()
    assert [torch.equal(a, b) for a, b in zip(before, after)] == [True, True, True, False]
    torch.testing.assert_close(after[-1], before[-1] + 1)


@pytest.mark.parametrize("count", range(5))
def test_parameters_of_the_first_stages(count):
    """All that the level depends on, and nothing that it does not."""
    backbone = PyramidBackbone("test_resnet", {}, 8, "sr", None, {"nodes": 4}).train()
    found = {id(p) for p in stem_and_stages(backbone, count)}
    names = {name.split(".")[0] for name, p in backbone.body.named_parameters() if id(p) in found}
    layers = {f"layer{i}" for i in range(1, count + 1)}
    assert names == ({"conv1", "bn1"} | layers if count else set())
    assert len(found) == sum(
        name.split(".")[0] in names for name, _ in backbone.body.named_parameters()
    )  # whole stages, with the block in the last
    assert backbone.training


def test_too_many_stages():
    with pytest.raises(ValueError, match=r"frozen_stages=-1.* 4 stages"):
        stem_and_stages(PyramidBackbone("test_resnet", {}, 8), -1)
