import numpy as np
import pytest
import torch
from PIL import Image

import srzoo
from srzoo.explanation.pictures import grid, heat, projected
from srzoo.images import ImageError
from srzoo.layers import SqueezeReasoning

OPTIONS = {"backbone": "tf_efficientnet_lite0", "num_classes": 3, "channels": 32, "output_stride": 16}


@pytest.fixture(scope="module")
def model():
    """A model whose block does something: ``W_R`` starts at zero, and the reasoning as the identity."""
    torch.manual_seed(0)
    model = srzoo.create_model("srnet", **OPTIONS, nodes=4)
    block = next(part for part in model.modules() if isinstance(part, SqueezeReasoning))
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (75, 110, 3), np.uint8))


def test_it_is_what_the_block_computes(model, image):
    found = srzoo.explain(model, image)
    block = model.get_submodule(found.block)
    x = found.x[None]
    with torch.no_grad():
        assert torch.allclose(found.y, block.forward_direct(x)[0], atol=1e-5)
        assert torch.allclose(found.g.flatten(), block.squeeze_vector(x)[0], atol=1e-6)
        assert torch.allclose(found.reduced, block.transform(x)[0], atol=1e-6)
    assert found.g.shape == found.z.shape == (4, 4)
    assert found.moved.shape == (4,) and found.activations().shape == (4, *found.x.shape[1:])
    assert 0 < found.active <= 1 and found.change > 0
    for k, channel in enumerate(found.salient()):
        assert channel // 4 == k


def test_a_fused_model_gives_the_same(model, image):
    plain, fused = srzoo.explain(model, image), srzoo.explain(srzoo.fuse(model), image)
    assert torch.allclose(plain.z, fused.z, atol=1e-3 * float(plain.z.max()))
    assert plain.salient() == fused.salient()


def test_training_mode_is_kept(model, image):
    model.train()
    model.head.fuse.eval()
    srzoo.explain(model, image)
    assert model.training and not model.head.fuse.training and model.backbone.training
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_block_that_is_off_says_so(image):
    """In the published weights the ReLU of Eq. 5 is zero for every channel."""
    model = srzoo.create_model("srnet", **OPTIONS)
    block = next(part for part in model.modules() if isinstance(part, SqueezeReasoning))
    torch.nn.init.zeros_(block.reasoning.weight)
    found = srzoo.explain(model, image)
    assert (found.active, found.change) == (0, 0)
    assert "identity" in repr(found)
    assert found.nodes_picture().width > 0


def test_a_detector(image):
    model = srzoo.create_model("srnet_mask_rcnn_lite0_facade")
    found = srzoo.explain(model, image)
    assert "backbone" in found.block and found.g.shape[0] == 16


def test_an_image_of_other_channels(image):
    model = srzoo.create_model("srnet", in_channels=4, **OPTIONS)
    found = srzoo.explain(model, np.zeros((75, 110, 4), np.uint8))
    assert found.image.mode == "RGB" and found.nodes_picture(2).width > 110
    with pytest.raises(ImageError, match=r"\b4\b"):
        srzoo.explain(model, image)


def test_errors(model, image):
    for context in ({"context": "none"}, {"context": "sr_released", "nodes": 4}):
        with pytest.raises(ValueError, match="srnet has no block of context='sr'"):
            srzoo.explain(srzoo.create_model("srnet", **context, **OPTIONS), image)
    with pytest.raises(ValueError, match="'head.other'.*head.context"):
        srzoo.explain(model, image, block="head.other")
    with pytest.raises(ValueError, match="Linear has no block"):
        srzoo.explain(torch.nn.Linear(2, 2), image)
    with pytest.raises(ValueError, match="explain takes a model.* str .*create_model"):
        srzoo.explain("srnet_lite0_camvid", image)


def test_another_network_with_the_block(image):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, 2), torch.nn.BatchNorm2d(16), torch.nn.Conv2d(16, 2, 1)).train()
    srzoo.insert(net, "1", nodes=4)
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255.0
    for parameter in net[1].context.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    found = srzoo.explain(net, x)
    assert net.training and net[1].training and not net[1].context._forward_pre_hooks
    net.eval()
    features = torch.nn.functional.conv2d(x, net[0].weight, net[0].bias, 2)
    wanted = torch.nn.functional.batch_norm(features, net[1].running_mean, net[1].running_var, eps=net[1].eps)
    torch.testing.assert_close(found.x, wanted[0].detach(), rtol=1e-4, atol=1e-4)
    assert found.block == "1.context" and found.g.shape == (4, 2) and found.change > 0
    assert found.nodes_picture(2).height > 75
    shown = np.asarray(found.image).astype(int)
    assert shown.shape == (75, 110, 3) and abs(shown - np.asarray(image)).max() <= 1
    for wrong in (image, x[0], x.repeat(2, 1, 1, 1)):
        with pytest.raises(ValueError, match=r"\(1, C, H, W\)"):
            srzoo.explain(net, wrong)


def test_pictures(model, image):
    found = srzoo.explain(model, image)
    assert found.nodes_picture(nodes=4).size == (3 * 110 + 2 * 4, 2 * (75 + 20))
    assert found.features_picture().size == (3 * 110 + 2 * 4, 75 + 20)
    assert found._repr_png_().startswith(b"\x89PNG")


def test_heat_and_projection():
    image = Image.new("RGB", (40, 30), "gray")
    values = torch.zeros(3, 4)
    values[0, 0] = 1
    drawn = np.asarray(heat(image, values)).astype(int)
    assert drawn[0, 0, 0] > drawn[0, 0, 2] and drawn[-1, -1, 2] > drawn[-1, -1, 0]
    x = torch.zeros(5, 3, 4)
    x[2, :, :2] = 1  # two regions, which get two colours
    before, after = (np.asarray(each) for each in projected(x, x, (4, 3)))
    assert (before == after).all() and (before[:, 0] != before[:, 3]).any()
    assert grid([image] * 4, list("abcd")).size == (3 * 40 + 8, 2 * 50)
