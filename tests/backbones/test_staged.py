"""Tests of the networks that srzoo registers in timm, beyond timm's own model tests."""

import pytest
import timm
import torch

import srzoo.backbones  # noqa: F401 (registers the models)

NAMES = ["dfnet_v1", "dfnet_v2", "wider_resnet38_a2"]
every_model = pytest.mark.parametrize("name", NAMES)


@every_model
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_features_keep_their_stride(name, output_stride):
    with torch.device("meta"):
        model = timm.create_model(name, features_only=True, output_stride=output_stride)
        features = model(torch.empty(1, 3, 65, 97))
    strides = model.feature_info.reduction()
    assert max(strides) == strides[-1] == output_stride
    assert [tuple(f.shape[-2:]) for f in features] == [(-(-65 // s), -(-97 // s)) for s in strides]


def test_dilated_network_agrees_with_the_strided_one():
    """A network dilated to stride 8 has an output at every eighth pixel; those of the strided one are among them."""
    torch.manual_seed(0)
    full = timm.create_model("dfnet_v1", features_only=True).eval()
    dilated = timm.create_model("dfnet_v1", features_only=True, output_stride=8).eval()
    dilated.load_state_dict(full.state_dict())
    x = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(dilated(x)[-1][:, :, ::4, ::4], full(x)[-1])


@pytest.mark.parametrize("name", NAMES[1:])
def test_scripted_and_traced_are_equal(name):
    model = timm.create_model(name).eval()
    x = torch.randn(1, 3, 33, 65)
    with torch.inference_mode():
        expected = model(x)
        torch.testing.assert_close(torch.jit.script(model)(x), expected)
        torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), expected)


@pytest.mark.parametrize("name", ["dfnet_v1", "wider_resnet38_a2"])
def test_pruned_to_any_feature(name):
    x = torch.randn(1, 3, 33, 47)
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    with torch.inference_mode():
        output, features = model.forward_intermediates(x)
        torch.testing.assert_close(output, model.forward_features(x))
        for index in range(len(features) - 1, -1, -2):
            (feature,) = model.forward_intermediates(x, [index], stop_early=True, intermediates_only=True)
            torch.testing.assert_close(feature, features[index])
            model.prune_intermediate_layers([index], prune_norm=True)
            torch.testing.assert_close(model(x), features[index])
            assert model.num_features == features[index].shape[1]


def test_checkpointed_gradients_are_equal():
    x = torch.randn(2, 3, 48, 48)
    gradients = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = timm.create_model("dfnet_v1", num_classes=5)
        model.set_grad_checkpointing(checkpointed)
        model(x).square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])
