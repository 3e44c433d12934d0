import pytest
import torch

import srzoo
from srzoo.labels.coco import COCO_INSTANCE, COCO_PANOPTIC
from srzoo.zoo.conversion import convert
from tests.zoo.foreign.reference import (
    RESNET_18,
    Mmdet,
    Mmdet1,
    assert_same_detections,
    balanced,
    double,
    random_state,
)

CAFFE = """
model = dict(backbone=dict(type='ResNet', style='caffe'), bbox_coder=dict(target_means=[0.0, 0.0, 0.0, 0.0]))
img_norm_cfg = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
"""


def converted(state, tmp_path, meta=None, dataset=None):
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    torch.save({"meta": meta or {"epoch": 12}, "state_dict": state}, source)
    title = convert(source, target, dataset)
    return title, srzoo.load_model(target).eval()


def picture(height=160, width=192):
    """An image in float64, normalized as srzoo does; with edges, so that regions differ."""
    torch.manual_seed(3)
    coarse = torch.nn.functional.interpolate(torch.randn(1, 3, 10, 12), (height, width))
    return (coarse + 0.3 * torch.randn(1, 3, height, width)).double()


@torch.inference_mode()
def test_mask_rcnn_of_version_2(tmp_path):
    state = random_state(Mmdet, 5)
    title, model = converted(state, tmp_path)
    assert title == "Mask R-CNN of mmdetection 2, over resnet50, 5 classes"
    assert model.config.name == "mask_rcnn_r50" and model.config.classes[4] == "class 4"
    options = model.config.options
    assert {k: options[k] for k in ("aligned", "sampling", "rounded_anchors")} == {
        "aligned": True,
        "sampling": 0,
        "rounded_anchors": False,
    }
    assert options["channels"] == 32 and options["box_channels"] == 48 and options["mask_layers"] == (32,) * 4
    x = picture()
    assert_same_detections(model.double()(x)[0], Mmdet(double(state))(x))


@torch.inference_mode()
def test_mask_rcnn_of_version_1(tmp_path):
    """Its boxes include their last pixel, and its anchors are centred on the cells."""
    state = random_state(Mmdet1, 5, RESNET_18)
    title, model = converted(state, tmp_path)
    assert title == "Mask R-CNN of mmdetection 1, over resnet18, 5 classes"
    assert model.config.options["anchor_offset"] == 0.5 and model.config.options["box_beta"] == 1
    x = picture()
    assert_same_detections(model.double()(x)[0], Mmdet1(double(state))(x), plus=1)


@pytest.mark.parametrize("kind", [Mmdet, Mmdet1])
@torch.inference_mode()
def test_cascade_with_a_resnext(kind, tmp_path):
    x = picture(96, 128)
    state = balanced(kind(random_state(kind, 12, groups=32, width=128, stages=3, mask_stages=3), 3, 3), x)
    title, model = converted(state, tmp_path)
    assert title == f"Cascade Mask R-CNN of mmdetection {2 - (kind is Mmdet1)}, over resnext50_32x4d, 12 classes"
    assert model.config.name == "cascade_mask_rcnn" and len(model.roi_heads.mask_head) == 3
    assert_same_detections(model.double()(x)[0], kind(double(state), 3, 3)(x), plus=kind.plus)


@torch.inference_mode()
def test_panoptic_fpn(tmp_path):
    """Theirs has the things as the last output of the semantic head."""
    state = random_state(Mmdet, 80, stuff=53)
    title, model = converted(state, tmp_path, {"CLASSES": COCO_PANOPTIC.classes})
    assert title == "Panoptic FPN of mmdetection 2, over resnet50, 133 classes of coco"
    assert model.config.name == "panoptic_fpn_r50_coco" and model.config.labels == COCO_PANOPTIC
    x = picture()
    theirs = Mmdet(double(state))
    found = model.double()(x)[0]
    logits = theirs.semantic(x)[0]
    torch.testing.assert_close(found["semantic"], torch.cat([logits[53:], logits[:53]]), atol=1e-4, rtol=0)
    assert_same_detections(found, theirs(x))


@torch.inference_mode()
def test_caffe_s_networks_take_bgr(tmp_path):
    state = random_state(Mmdet, 3)
    _, model = converted(state, tmp_path, {"config": CAFFE})
    assert model.config.options["stride_in_1x1"] is True
    theirs = Mmdet(double(state))
    theirs.stride_in_1x1 = True
    x = picture()
    mean, std = (torch.tensor(each).double()[:, None, None] for each in (CAFFE_MEAN, model.config.transform.std))
    rgb = 255 * (x * std + torch.tensor(model.config.transform.mean).double()[:, None, None])
    bgr = rgb.flip(1) - mean
    for level, wanted in zip(model.double().backbone(x).values(), theirs.pyramid(bgr)):
        torch.testing.assert_close(level, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


CAFFE_MEAN = (103.53, 116.28, 123.675)


def test_names_in_the_file_are_the_classes(tmp_path):
    state = random_state(Mmdet, 3, RESNET_18)
    _, model = converted(state, tmp_path, {"CLASSES": ("nut", "bolt", "washer")})
    assert model.config.classes == ("nut", "bolt", "washer")
    street = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    title, model = converted(random_state(Mmdet, 8), tmp_path, {"CLASSES": list(street)})
    assert title.endswith("8 classes of cityscapes") and model.config.name == "mask_rcnn_r50_cityscapes"
    _, model = converted(state, tmp_path, {"CLASSES": ("nut", "bolt")})  # not those of this model
    assert model.config.classes == ("class 0", "class 1", "class 2")
    for names, message in ((("nut", "bolt", "nut"), "'nut' is named twice"), (("nut", "bolt", ""), "the name ''")):
        with pytest.raises(ValueError, match=f"cannot convert .*names of classes in the file: .*{message}"):
            converted(state, tmp_path, {"CLASSES": names})


def test_weights_before_averaging_are_left_out(tmp_path):
    state = random_state(Mmdet, 3, RESNET_18)
    before = {f"ema_{key.replace('.', '_')}": torch.zeros_like(value) for key, value in state.items()}
    _, model = converted({**state, **before}, tmp_path)
    assert torch.equal(model.roi_heads.box_head.fc7.weight, state["roi_head.bbox_head.shared_fcs.1.weight"])


def test_a_checkpoint_of_a_lightning_module(tmp_path):
    state = random_state(Mmdet, 3, RESNET_18)
    _, model = converted({f"model.{key}": value for key, value in state.items()}, tmp_path)
    assert torch.equal(model.roi_heads.box_head.fc7.weight, state["roi_head.bbox_head.shared_fcs.1.weight"])


def test_80_classes_are_coco_s_and_a_given_dataset_must_fit(tmp_path):
    state = random_state(Mmdet, 80)
    title, model = converted(state, tmp_path)
    assert title.endswith("80 classes of coco") and model.config.labels == COCO_INSTANCE
    assert model.config.name == "mask_rcnn_r50_coco"
    assert (model.config.transform.short_side, model.config.transform.long_side) == (800, 1333)
    with pytest.raises(ValueError, match="80 classes .*facade has 5 classes"):
        converted(state, tmp_path, dataset="facade")
    with pytest.raises(ValueError, match="80 classes .*ade20k has none"):
        converted(state, tmp_path, dataset="ade20k")
    panoptic = random_state(Mmdet, 79, RESNET_18, stuff=54)
    with pytest.raises(ValueError, match="79 things and 54 stuff .*coco has 80 things and 53 stuff"):
        converted(panoptic, tmp_path, dataset="coco")
    title, model = converted(panoptic, tmp_path)
    assert sum(model.config.labels.things) == 79 and len(model.stuff_ids) == 54


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 32])
def test_full_size(groups, tmp_path):
    kind = {"blocks": (3, 4, 23, 3), "small": False}
    if groups == 32:
        kind |= {"groups": 32, "width": 128, "stages": 3, "mask_stages": 3}
    title, model = converted(random_state(Mmdet, 80, **kind), tmp_path)
    name = "cascade_mask_rcnn_x101_coco" if groups == 32 else "mask_rcnn_r101_coco"
    assert model.config.name == name and title.endswith("80 classes of coco")
    assert "channels" not in model.config.options and "mask_layers" not in model.config.options
    millions = {1: 63.393, 32: 95.945}[groups]
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.0015)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("neck.fpn_convs.2.conv.bias"), "lacks neck.fpn_convs.2.conv.bias$"),
        (lambda s: s.pop("roi_head.bbox_head.fc_cls.bias"), "lacks roi_head.bbox_head.fc_cls.bias"),
        (lambda s: s.update({"backbone.layer2.0.conv2_offset.weight": torch.zeros(2)}), "unexpected .*conv2_offset"),
        (
            lambda s: s.update({"roi_head.mask_head.conv_logits.weight": torch.zeros(1, 32, 1, 1)}),
            r"conv_logits.weight of shape \(1, 32, 1, 1\) instead of \(3, 32, 1, 1\)",
        ),
        (lambda s: s["rpn_head.rpn_cls.bias"].fill_(float("inf")), "rpn_head.rpn_cls.bias .*finite"),
        (lambda s: [s.pop(key) for key in list(s) if ".layer3.1." in key], "stages of 2, 2, 1, 2 blocks.*ResNet-18"),
    ],
)
def test_invalid_files(change, message, tmp_path):
    state = random_state(Mmdet, 3, RESNET_18)
    change(state)
    with pytest.raises(ValueError, match=message) as raised:
        converted(state, tmp_path)
    assert "\n" not in str(raised.value) and str(raised.value).startswith(f"cannot convert {tmp_path / 'in.pth'}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]
