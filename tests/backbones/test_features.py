import pytest
import torch

from srzoo.backbones import FeatureBackbone, probe


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
    with pytest.raises(ValueError, match="no backbone 'resnet500'; did you mean 'resnet50'"):
        probe("resnet500", 8)


def test_a_stride_that_timm_cannot_give():
    with pytest.raises(
        ValueError, match="has output stride 32, which timm cannot change to 8; pass 32, or leave it out"
    ):
        probe("swin_tiny_patch4_window7_224", 8)


def test_multi_grid_dilates_the_last_stage():
    with torch.device("meta"):
        backbone = FeatureBackbone("resnet50s", {"output_stride": 8}, multi_grid=(1, 2, 4))
        assert backbone(torch.empty(1, 3, 65, 33))[-1].shape == (1, 2048, 9, 5)
    assert {block.conv2.dilation for block in backbone.body.layer2} == {(1, 1)}
    assert {block.conv2.dilation for block in backbone.body.layer3} == {(2, 2)}
    assert [block.conv2.dilation for block in backbone.body.layer4] == [(4, 4), (8, 8), (16, 16)]


def test_multi_grid_needs_as_many_blocks():
    with pytest.raises(ValueError, match="needs 3 blocks in a ResNet's layer4; 'resnet18' has 2"):
        FeatureBackbone("resnet18", {"output_stride": 8}, multi_grid=(1, 2, 4))
