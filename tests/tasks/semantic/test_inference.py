import pytest
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

import srzoo
from srzoo.tasks.semantic import inference
from srzoo.tasks.semantic.inference import image_logits, mean_labels
from srzoo.tasks.semantic.view import View
from srzoo.zoo.factory import trained_model


@pytest.fixture(scope="module")
def model():
    return srzoo.Segmenter(device="cpu").model


@pytest.fixture
def image(examples):
    return Image.open(examples / "cyclist.png").convert("RGB").resize((240, 180))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("strip", [1, 5000, 1 << 22])
def test_labels_of_the_mean_probability(strip, align_corners, monkeypatch):
    """Compared with the probabilities of the whole image, which the strips do not compute."""
    monkeypatch.setattr(inference, "_STRIP", strip)
    generator = torch.Generator().manual_seed(3)
    passes = [torch.randn(1, 7, *size, generator=generator) for size in ((9, 13), (12, 17), (5, 5))]
    size = (67, 101)
    resized = (F.interpolate(p, size=size, mode="bilinear", align_corners=align_corners) for p in passes)
    mean = sum(p.softmax(1) for p in resized) / 3
    labels = mean_labels(passes, size, align_corners)
    best, second = mean.topk(2, dim=1).values.unbind(1)
    assert labels.dtype == torch.uint8
    assert ((labels == mean.argmax(1)) | (best - second < 1e-5)).all()


@torch.inference_mode()
def test_one_pass_for_every_scale_and_flip(model, image):
    seen = []
    handle = model.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    passes = image_logits(model, image, View(scales=(0.5, 1.25), flip=True))
    handle.remove()
    assert seen == [(256, 352), (256, 352), (672, 896), (672, 896)]
    assert [tuple(p.shape[2:]) for p in passes] == [(64, 88), (64, 88), (168, 224), (168, 224)]


@torch.inference_mode()
def test_flip_makes_labels_of_a_mirrored_image_mirrored(model, image):
    view, size = View(scales=(0.5,), flip=True), (180, 240)
    labels = mean_labels(image_logits(model, image, view), size)
    mirrored = mean_labels(image_logits(model, ImageOps.mirror(image), view), size)
    assert (mirrored.flip(2) == labels).float().mean() > 0.999
    plain = View(scales=(0.5,))
    one, other = (mean_labels(image_logits(model, i, plain), size) for i in (image, ImageOps.mirror(image)))
    assert (other.flip(2) == one).float().mean() < 0.999


@torch.inference_mode()
def test_tiles_do_not_reduce_the_image(model, image):
    (logits,) = image_logits(model, image.resize((1000, 900)), View(tile=1024))
    assert tuple(logits.shape[2:]) == (896 // 4, 992 // 4)
    (logits,) = image_logits(model, image, View(tile=1024))
    assert tuple(logits.shape[2:]) == (528 // 4, 720 // 4)


@torch.inference_mode()
def test_window_as_large_as_the_input_is_the_whole_image(model, image):
    (whole,), (window,) = (image_logits(model, image, view) for view in (View(), View(window=720)))
    assert torch.equal(window, whole)


def test_threshold_of_the_second_class():
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 9, 7)
    size = (18, 14)
    probability = F.interpolate(logits, size=size, mode="bilinear").softmax(1)[:, 1]
    for threshold in (0.1, 0.5, 0.8):
        for passes in ([logits], [logits, logits]):
            found = mean_labels(passes, size, threshold=threshold)
            assert ((found == 1) == (probability > threshold)).float().mean() > 0.99
    with pytest.raises(ValueError, match="threshold.*two classes.* 11"):
        srzoo.Segmenter(device="cpu", threshold=0.3)


def test_one_output(tmp_path):
    options = {"backbone": "test_efficientnet", "channels": 32, "output_stride": 16}
    model = srzoo.create_model("srnet", num_classes=2, one_output=True, **options).eval()
    assert model.classifier.weight.shape[0] == 1
    logits = model(torch.rand(1, 3, 64, 64))
    assert logits.shape == (1, 2, 64, 64)
    assert not logits[:, 0].any()
    srzoo.save_model(model, tmp_path / "m.safetensors")
    loaded = srzoo.load_model(tmp_path / "m.safetensors")
    loaded.reset_classifier(classes=["other", "road"])
    assert loaded.classifier.weight.shape[0] == 1
    with pytest.raises(ValueError, match="one_output is for 2 classes.*3"):
        loaded.reset_classifier(3)
    with pytest.raises(ValueError, match="one_output is for 2 classes.*3"):
        srzoo.create_model("srnet", num_classes=3, one_output=True, **options)


def test_one_output_from_the_weights_of_more_classes(tmp_path):
    options = {"backbone": "test_efficientnet", "channels": 32, "output_stride": 16}
    of_three = srzoo.create_model("srnet", num_classes=3, **options)
    srzoo.save_model(of_three, tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match="2 classes instead of 3.*classifier.weight"):
        model = trained_model(tmp_path / "m.safetensors", num_classes=2, one_output=True)
    assert model.classifier.weight.shape[0] == model.aux_head.classifier.weight.shape[0] == 1
    assert torch.equal(model.head.reduce.conv.weight, of_three.head.reduce.conv.weight)
