import pytest
import timm
import torch
from safetensors.torch import save_file

import srzoo
from srzoo import backbones
from srzoo.backbones import FeatureBackbone, normalization, probe
from srzoo.backbones.imagenet import load_imagenet_weights
from srzoo.layers import NonLocal, SqueezeReasoning


@pytest.mark.parametrize(
    ("name", "stride", "expected_stride", "divisor"),
    [
        ("resnet18", 16, 16, 1),
        ("convnext_atto", None, 8, 1),
        ("swin_tiny_patch4_window7_224", None, 32, None),
        ("vit_tiny_patch16_224", 16, 16, 32),
        ("hrnet_w18_small", None, 32, 32),
    ],
)
def test_probe_finds_how_to_build(name, stride, expected_stride, divisor):
    options, found = probe(name, stride)
    with torch.device("meta"):
        backbone = FeatureBackbone(name, options)
        features = backbone(torch.empty(1, 3, 64, 96))
    assert backbone.strides[-1] == expected_stride
    assert [f.shape[1] for f in features] == backbone.channels
    assert features[-1].shape[-2:] == (64 // expected_stride, 96 // expected_stride)
    assert divisor in (None, found)


def test_unknown_backbone_suggests_the_nearest():
    with pytest.raises(ValueError, match="'resnet500'.*'resnet50'"):
        probe("resnet500", 8)
    with pytest.raises(ValueError, match="mean 'resnet18'"):
        probe("timm/resnet18.a1_in1k", 8)


def test_a_stride_that_timm_does_not_support():
    with pytest.raises(ValueError, match=r"'swin_tiny_patch4_window7_224' .*32.* 8; pass output_stride=32$"):
        probe("swin_tiny_patch4_window7_224", 8)


@pytest.mark.parametrize(
    "name", ["inception_v3", "levit_128s", "hiera_tiny_224", "maxvit_pico_rw_256", "crossvit_tiny_240", "mvitv2_tiny"]
)
def test_a_backbone_for_other_images(name):
    with pytest.raises(ValueError, match=f"'{name}' .*images of any size") as info:
        probe(name, None)
    assert "\n" not in str(info.value) and len(str(info.value)) < 260


def test_a_backbone_that_ignores_the_number_of_channels(monkeypatch):
    """A model was built, and failed at its first image."""

    def of_rgb(pretrained=False, in_chans=3, **options):
        return timm.create_model("test_resnet", **options)

    assert probe("test_resnet", 16, 4) == probe("test_resnet", 16)
    monkeypatch.setitem(timm.models._registry._model_entrypoints, "of_rgb", of_rgb)
    assert probe("of_rgb", 16) == probe("test_resnet", 16)
    with pytest.raises(ValueError, match=r"'of_rgb' .*4 channels.*in_channels"):
        srzoo.create_model("mask_rcnn", backbone="of_rgb", num_classes=2, in_channels=4)


def test_multi_grid_dilates_the_last_stage():
    with torch.device("meta"):
        backbone = FeatureBackbone("resnet50s", {"output_stride": 8}, multi_grid=(1, 2, 4))
        assert backbone(torch.empty(1, 3, 65, 33))[-1].shape == (1, 2048, 9, 5)
    assert {block.conv2.dilation for block in backbone.body.layer2} == {(1, 1)}
    assert {block.conv2.dilation for block in backbone.body.layer3} == {(2, 2)}
    assert [block.conv2.dilation for block in backbone.body.layer4] == [(4, 4), (8, 8), (16, 16)]


def test_multi_grid_for_another_number_of_blocks():
    with pytest.raises(ValueError, match=r"multi_grid=\(1, 2, 4\) .*3 .*layer4.*'resnet18' .*2"):
        FeatureBackbone("resnet18", {"output_stride": 8}, multi_grid=(1, 2, 4))


@pytest.mark.parametrize("size", [(32, 32), (47, 65), (97, 33)])
@torch.inference_mode()
def test_new_blocks_do_not_change_the_features(size):
    torch.manual_seed(0)
    plain = FeatureBackbone("resnet18", {}).eval()
    extended = FeatureBackbone("resnet18", {}, blocks={"layer3": "nl", "layer4": ("sr", {"nodes": 8})}).eval()
    missing = extended.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert {key.partition(".context.")[0] for key in missing} == {"body.layer3.1", "body.layer4.1"}
    third, fourth = extended.body.layer3[1].context, extended.body.layer4[1].context
    assert type(third) is NonLocal and type(fourth) is SqueezeReasoning
    assert (fourth.channels, fourth.nodes) == (512, 8)
    assert (extended.channels, extended.strides) == (plain.channels, plain.strides)
    x = torch.randn(2, 3, *size)
    for ours, expected in zip(extended(x), plain(x), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    torch.nn.init.normal_(fourth.project.weight, std=0.1)
    *before, last = extended(x)
    for ours, expected in zip(before, plain(x)):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    torch.testing.assert_close(last, fourth(plain(x)[-1]))


def test_a_block_after_a_dilated_stage():
    with torch.device("meta"):
        backbone = FeatureBackbone("resnet50s", {"output_stride": 8}, (1, 2, 4), {"layer4": "sr"})
        assert backbone(torch.empty(1, 3, 65, 33))[-1].shape == (1, 2048, 9, 5)
    assert backbone.body.layer4[2].context.channels == 2048
    assert {parameter.device.type for parameter in backbone.parameters()} == {"meta"}


def test_blocks_keep_their_weights_when_imagenet_weights_are_loaded(tmp_path):
    state = {key: value.contiguous() for key, value in timm.create_model("resnet18").state_dict().items()}
    save_file(state, tmp_path / "r18.safetensors")
    backbone = FeatureBackbone("resnet18", {}, blocks={"layer4": "sr"})
    before = backbone.body.layer4[1].context.transform.weight.clone()
    load_imagenet_weights(backbone, "resnet18", tmp_path / "r18.safetensors")
    assert torch.equal(backbone.body.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert torch.equal(backbone.body.layer4[1].context.transform.weight, before)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"layer5": "sr"}, "'layer5'.*'layer4'"),
        ({"layer4": "ssr"}, "'ssr'.* sr, "),
        ({"layer4": ("sr", {"nodes": 7})}, "256 .*nodes=7"),
        ({"layer4": ("sr", {"nodez": 7})}, "nodez"),
        ({"layer4": 3}, r"blocks\['layer4'\].* 3$"),
        ({"layer4": ("sr", 3)}, r"blocks\['layer4'\].*\('sr', 3\)"),
        (["layer4"], r"blocks .*\['layer4'\]"),
    ],
)
def test_invalid_blocks(blocks, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        FeatureBackbone("resnet18", {}, blocks=blocks)


def test_old_name_of_normalization_gives_one_warning():
    with pytest.warns(FutureWarning, match="normalisation is now normalization") as said:
        assert backbones.normalisation is normalization
    assert len(said) == 1
    with pytest.raises(AttributeError, match="'nonsense'"):
        _ = backbones.nonsense


@pytest.mark.parametrize(("height", "width"), [(384, 512), (512, 384), (384, 384), (64, 96)])
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet18", "hrnet_w18_small"])
def test_features_are_nchw_where_a_side_is_as_long_as_there_are_channels(name, height, width):
    with torch.device("meta"):
        backbone = FeatureBackbone(name, probe(name, None)[0]).eval()
        features = backbone(torch.empty(1, 3, height, width))
    expected = [(1, c, height // s, width // s) for c, s in zip(backbone.channels, backbone.strides)]
    assert [tuple(feature.shape) for feature in features] == expected
