"""Other classes, and images of other channels, for models that exist."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import srzoo
from srzoo.backbones import FeatureBackbone
from srzoo.backbones.imagenet import load_imagenet_weights
from srzoo.backbones.stem import adapt_stem
from srzoo.labels import LabelSet
from srzoo.zoo.factory import trained_model

TINY = {"backbone": "test_efficientnet", "channels": 32, "output_stride": 16}


def tiny(**options):
    return srzoo.create_model("srnet", **{"num_classes": 3, **TINY, **options})


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_channels_are_kept_in_a_file(tmp_path, channels):
    model = tiny(in_channels=channels).eval()
    model.reconfigure(transform=model.config.transform.with_short_side(80))
    assert model.config.transform.channels == channels
    x = torch.rand(1, channels, 64, 64)
    assert model(x).shape == (1, 3, 64, 64)
    with pytest.raises(ValueError, match=rf"\(N, {channels}, H, W\)"):
        model(torch.rand(1, channels + 1, 64, 64))
    srzoo.save_model(model, tmp_path / "m.safetensors")
    loaded = srzoo.load_model(tmp_path / "m.safetensors").eval()
    assert loaded.config == model.config
    assert torch.equal(loaded(x), model(x))
    image = np.random.default_rng(0).integers(0, 256, (40, 50, channels), dtype=np.uint8)
    for options in ({}, {"tile": 64, "halo": 32}, {"flip": True, "scales": (0.5, 1.0)}):
        result = srzoo.Segmenter(loaded, **options)(image)
        assert result.labels.shape == (40, 50)
        assert result.overlay().mode == "RGB"


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", ["mask_rcnn_lite0", "srnet_panoptic_fpn_lite0", "cascade_mask_rcnn"])
def test_channels_of_a_detector(name, channels, tmp_path):
    """The first convolution, the transform, a file, and what a result shows."""
    options = {"channels": 32, "box_channels": 32, "mask_layers": (32,), "in_channels": channels}
    options |= {"backbone": "test_efficientnet"} if name.startswith("cascade") else {}
    model = srzoo.create_model(name, num_classes=2, things=[True, False], **options).eval()
    assert model.in_channels == model.config.transform.channels == channels
    model(torch.rand(1, channels, 64, 64))
    with pytest.raises(ValueError, match=rf"\(N, {channels}, H, W\)"):
        model(torch.rand(1, channels + 1, 64, 64))
    model.freeze_stages(1)
    assert model.cost((64, 64)) > 0
    srzoo.save_model(model, tmp_path / "m.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (70, 90, channels), dtype=np.uint8)
    assert srzoo.Segmenter(tmp_path / "m.safetensors")(image).overlay().size == (90, 70)


def test_no_option_without_need(tmp_path):
    assert "in_channels" not in tiny().config.options
    assert tiny(in_channels=3).config.transform == tiny().config.transform


def test_weights_of_rgb_are_adapted(tmp_path):
    rgb = tiny().eval()
    srzoo.save_model(rgb, tmp_path / "rgb.safetensors")
    from srzoo.zoo.factory import trained_model

    gray = trained_model(tmp_path / "rgb.safetensors", in_channels=1).eval()
    x = torch.rand(1, 1, 64, 64)
    assert torch.allclose(gray(x), rgb(x.expand(-1, 3, -1, -1)), atol=1e-5)
    six = trained_model(tmp_path / "rgb.safetensors", in_channels=6).eval()
    y = torch.rand(1, 3, 64, 64)
    assert torch.allclose(six(torch.cat([y, y], 1)), rgb(y), atol=1e-5)
    assert six.config.transform.mean == rgb.config.transform.mean * 2
    assert gray.config.transform.mean == pytest.approx((sum(rgb.config.transform.mean) / 3,))


def test_published_weights_for_more_channels():
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True, in_channels=4)
    assert model.backbone.body.conv_stem.weight.shape[1] == 4


def test_one_channel_becomes_several():
    state = {"stem": torch.ones(2, 1, 3, 3), "other": torch.ones(4)}
    wanted = {"stem": torch.empty(2, 4, 3, 3), "other": torch.empty(4)}
    assert torch.allclose(adapt_stem(state, wanted, 4)["stem"].sum(1), state["stem"].sum(1))


@pytest.mark.parametrize("value", [0, 65, 2.5, "4"])
def test_invalid_channels(value):
    with pytest.raises(ValueError, match=f"in_channels must .*{value!r}|in_channels must be at most 64, got {value}"):
        tiny(in_channels=value)


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "backbone.body.", "model.encoder._orig_mod."])
def test_backbone_weights_under_any_prefix(tmp_path, prefix):
    source = FeatureBackbone("test_efficientnet", {"output_stride": 16})
    state = {f"{prefix}{key}": value.clone() for key, value in source.body.state_dict().items()}
    state |= {"classifier.weight": torch.zeros(2, 3), "decoder.conv_stem.weight": torch.zeros(2)}
    save_file(state, tmp_path / "encoder.safetensors")
    into = FeatureBackbone("test_efficientnet", {"output_stride": 16})
    load_imagenet_weights(into, "test_efficientnet", tmp_path / "encoder.safetensors")
    assert all(torch.equal(value, into.body.state_dict()[key]) for key, value in source.body.state_dict().items())


def test_classes_and_colours():
    model = srzoo.create_model("srnet", classes=["road", "car"], palette=["#102030", (1, 2, 3)], **TINY)
    assert model.num_classes == 2
    assert model.config.labels.classes == ("road", "car")
    assert model.config.palette == ((16, 32, 48), (1, 2, 3))
    with pytest.warns(UserWarning, match="2 classes instead of 11"):
        tuned = srzoo.create_model("srnet_lite0_camvid", pretrained=True, classes=["road", "car"])
    assert tuned.config.classes == ("road", "car")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a"]}, "num_classes=1.* 2 or more"),
        ({"classes": ["a", "b"], "num_classes": 3}, "num_classes=3.* 2 classes"),
        ({"classes": "ab"}, "'ab'"),
        ({"classes": ["a", 1]}, "1"),
        ({"classes": ["a", "b"], "palette": [(0, 0, 256), (0, 0, 0)]}, "256"),
        ({"palette": [(0, 0, 0)]}, "classes"),
        ({"classes": 5}, "classes .*5"),
        ({"classes": {"a": 3, "b": 7}}, r"classes .*order of id.*\{'a': 3"),
        ({"classes": {"a", "b"}}, r"classes .*order of id"),
        ({"classes": ["a", "b"], "palette": 5}, "palette .*5"),
        ({"classes": ["a", "b"], "palette": [5, 6]}, "palette: 5 "),
    ],
)
def test_invalid_classes(options, message):
    with pytest.raises(ValueError, match=message):
        srzoo.create_model("srnet", **TINY, **options)


def test_classes_and_colours_of_arrays():
    model = tiny(num_classes=None, classes=np.array(["a", "b"]), palette=np.array([(1, 2, 3), (4, 5, 6)], np.uint8))
    assert model.config.labels == LabelSet(("a", "b"), ((1, 2, 3), (4, 5, 6)))
    assert all(type(name) is str for name in model.config.classes)


@pytest.mark.parametrize("count", ["a", ["x", "y"], -1, 0, 2.0, True])
def test_an_invalid_number_of_classes_changes_nothing(count):
    model = tiny()
    with pytest.raises(ValueError, match=f"num_classes .*1, got {re.escape(repr(count))}.*classes="):
        model.reset_classifier(count)
    assert model.num_classes == len(model.config.classes) == 3


def test_reset_classifier(tmp_path):
    model = tiny()
    stem = model.backbone.body.conv_stem.weight.clone()
    model.reset_classifier(5)
    assert model(torch.rand(2, 3, 64, 64)).shape[1] == model.num_classes == 5
    model.reset_classifier(classes=["sky", "tree"], palette=["#000000", "#ffffff"])
    logits, aux = model(torch.rand(2, 3, 64, 64), return_aux=True)
    assert logits.shape[1] == aux.shape[1] == 2
    assert torch.equal(model.backbone.body.conv_stem.weight, stem)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    assert srzoo.load_model(tmp_path / "m.safetensors").config.labels == model.config.labels
    with pytest.raises(ValueError, match="num_classes"):
        model.reset_classifier()
    with pytest.raises(ValueError, match="2 or more"):
        model.reset_classifier(1)


@pytest.mark.parametrize("name", ["mask_rcnn_lite0", "panoptic_fpn_lite0", "cascade_mask_rcnn"])
def test_reset_classifier_of_a_detector(name, tmp_path):
    """A detector is reset to what `create_model` builds for the classes; all else stays."""
    options = {"backbone": "test_efficientnet"} if name.startswith("cascade") else {}
    options |= {"channels": 32, "box_channels": 32, "mask_layers": (32,)}
    before = LabelSet(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (True, True, False))
    after = LabelSet(("d", "e", "f", "g"), ((3, 3, 3), (4, 4, 4), (5, 5, 5), (6, 6, 6)), (False, True, False, False))
    model = srzoo.create_model(name, labels=before, **options)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    model.reset_classifier(labels=after)
    wanted = {key: value.shape for key, value in srzoo.create_model(name, labels=after, **options).state_dict().items()}
    state = model.state_dict()
    assert {key: value.shape for key, value in state.items()} == wanted
    assert model.config.labels == after and model.num_classes == 4
    changed = {key for key in state if state[key].shape != kept[key].shape or not torch.equal(state[key], kept[key])}
    parts = ("cls_score", "mask_fcn_logits", "classifier", *(() if name.startswith("cascade") else ("bbox_pred",)))
    assert changed and all(any(part in key for part in parts) for key in changed)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    assert srzoo.load_model(tmp_path / "m.safetensors").config.labels == after
    model.eval()(torch.rand(1, 3, 64, 64))


LABELS = LabelSet(("a", "b", "c", "d"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)), things=(True, False, True, False))
ORDER = (2, 3, 0, 1)


def shaken(name, labels, **options):
    """A model none of whose outputs are alike, in evaluation mode."""
    torch.manual_seed(0)
    model = srzoo.create_model(name, labels=labels, **options).eval()
    for key, value in model.named_parameters():
        if any(part in key for part in ("predictor", "classifier")):
            torch.nn.init.normal_(value, std=1)
    return model


@pytest.mark.parametrize("name", ["mask_rcnn_lite0", "panoptic_fpn_lite0", "cascade_mask_rcnn"])
def test_a_detector_s_classes_in_another_order(name, tmp_path):
    options = {"backbone": "test_efficientnet", "channels": 16, "box_channels": 32, "mask_layers": (16,)}
    model, image = shaken(name, LABELS, **options), torch.rand(1, 3, 64, 64)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    other = trained_model(tmp_path / "m.safetensors", labels=LABELS.reordered(ORDER)).eval()
    assert other.config.labels == LABELS.reordered(ORDER)
    (found,), (reordered,) = model(image), other(image)
    assert len({*found["labels"].tolist()}) > 1

    def sorted_by_box(each, classes):
        return sorted(
            (*box.tolist(), score.item(), classes[label], mask.sum().item())
            for box, score, label, mask in zip(each["boxes"], each["scores"], each["labels"], each["masks"])
        )

    own, theirs = sorted_by_box(found, LABELS.classes), sorted_by_box(reordered, other.config.classes)
    assert len(own) == len(theirs)
    for a, b in zip(own, theirs):
        assert a[5] == b[5] and a[:5] + a[6:] == pytest.approx(b[:5] + b[6:], rel=1e-4, abs=1e-4)
    if name.startswith("panoptic"):
        assert torch.allclose(found["semantic"], reordered["semantic"][[0, 2, 1]], atol=1e-5)
        assert other.thing_ids == (0, 2) and other.stuff_ids == (1, 3)


@pytest.mark.parametrize("one_output", [False, True])
def test_a_semantic_model_s_classes_in_another_order(one_output, tmp_path):
    classes = ["a", "b"] if one_output else ["a", "b", "c"]
    options = {"channels": 32, "output_stride": 16, "one_output": one_output}
    model = srzoo.create_model("srnet", backbone="test_efficientnet", classes=classes, **options).eval()
    srzoo.save_model(model, tmp_path / "m.safetensors")
    other = srzoo.load_model(tmp_path / "m.safetensors").eval()
    other.reorder_classes(other.config.labels.reordered(range(len(classes))[::-1]))
    assert other.config.classes == tuple(classes[::-1])
    image = torch.rand(1, 3, 64, 64)
    for found, theirs in zip(model(image, return_aux=True), other(image, return_aux=True)):
        assert torch.allclose(found.softmax(1), theirs.flip(1).softmax(1), atol=1e-6) and found.std() > 0


def test_other_classes_are_no_order():
    model = tiny()
    with pytest.raises(ValueError, match=r"classes \('x', 'y', 'z'\).*'class 0'.*reset_classifier"):
        model.reorder_classes(LabelSet(("x", "y", "z"), ((0, 0, 0),) * 3))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (dataclasses.replace(LABELS, classes=("b", "a", "c", "e")), "'b' has another id"),
        (dataclasses.replace(LABELS, things=(False, True, True, False)), "other classes are things"),
    ],
)
def test_heads_of_classes_that_moved_start_anew(labels, message, tmp_path):
    options = {"backbone": "test_efficientnet", "channels": 16, "box_channels": 32, "mask_layers": (16,)}
    model = shaken("panoptic_fpn_lite0", LABELS, **options)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    with pytest.warns(
        UserWarning, match=rf"{message}.*bbox_pred.*cls_score.*mask_fcn_logits.*semantic_head.classifier"
    ):
        other = trained_model(tmp_path / "m.safetensors", labels=labels)
    predictors = [part.roi_heads.box_predictor.cls_score.weight for part in (model, other)]
    assert not torch.equal(*predictors) and predictors[1].std() < 0.1
    renamed = dataclasses.replace(LABELS, classes=("A", "B", "C", "D"))
    kept = trained_model(tmp_path / "m.safetensors", labels=renamed)
    assert torch.equal(kept.roi_heads.box_predictor.cls_score.weight, predictors[0])


def test_reset_classifier_to_too_little():
    model = srzoo.create_model("panoptic_fpn_lite0_facade")
    with pytest.raises(ValueError, match="which of its 3 classes are things"):
        model.reset_classifier(3)
    with pytest.raises(ValueError, match="things has 1 .*2 classes"):
        model.reset_classifier(classes=["a", "b"], things=[True])
    with pytest.raises(ValueError, match="leave the others out"):
        model.reset_classifier(3, labels=model.config.labels)
    model.reset_classifier(classes=["door", "wall"], things=[True, False])
    assert model.config.labels.things == (True, False) and model.thing_ids == (0,)
    one = srzoo.create_model("mask_rcnn_lite0", classes=["window"])  # the background is no class of a detector
    one.reset_classifier(classes=["door"], palette=["#ff0000"])
    assert one.config.labels == LabelSet(("door",), ((255, 0, 0),))
