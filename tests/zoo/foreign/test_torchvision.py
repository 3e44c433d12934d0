import functools
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import MaskRCNN, _utils, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d

import srzoo
from srzoo.labels.coco import COCO_CATEGORY_IDS, COCO_INSTANCE
from srzoo.zoo.conversion import convert
from tests.zoo.foreign.reference import paired
from tests.zoo.foreign.test_mmdet import picture

UNUSED = sorted(set(range(1, 91)) - set(COCO_CATEGORY_IDS))


def settled(model, outputs):
    """With random weights as after training: several classes, and frozen norms that matter."""
    torch.manual_seed(0)
    for name, part in model.named_modules():
        if isinstance(part, (nn.BatchNorm2d, FrozenBatchNorm2d)):
            last = name.endswith("bn3") or (name.endswith("bn2") and ".layer" in name)
            part.weight.data = (0.3 if last else 1.0) * (0.5 + torch.rand_like(part.weight))
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 1.5)
    model = model.eval()
    predictor = model.roi_heads.box_predictor
    width = predictor.cls_score.in_features
    predictor.cls_score.weight.data = torch.randn(outputs, width)
    model.roi_heads.mask_predictor.mask_fcn_logits.weight.data *= 4
    with torch.no_grad():  # the same mean and deviation of the logits for all classes, far from saturation
        images = ImageList(picture(96, 128).float(), [(96, 128)])
        levels = model.backbone(images.tensors)
        proposals, _ = model.rpn(images, levels)
        heads = model.roi_heads
        pooled = heads.box_roi_pool(levels, proposals, images.image_sizes)
        deviation, mean = torch.std_mean(predictor.cls_score(heads.box_head(pooled)) - predictor.cls_score.bias, 0)
        predictor.cls_score.weight.data *= 1.5 / deviation[:, None]
        predictor.cls_score.bias.data = -1.5 * mean / deviation
    return model


def small(outputs, norm=nn.BatchNorm2d):
    body = resnet18(norm_layer=norm)
    layers = {f"layer{i}": str(i - 1) for i in range(1, 5)}
    backbone = BackboneWithFPN(body, layers, [64, 128, 256, 512], 32)
    model = MaskRCNN(
        backbone,
        box_head=TwoMLPHead(32 * 49, 48),
        box_predictor=FastRCNNPredictor(48, outputs),
        mask_head=MaskRCNNHeads(32, (32, 32), 1),
        mask_predictor=MaskRCNNPredictor(32, 32, outputs),
    )
    return settled(model, outputs)


def detections(model, x):
    """Theirs, without resizing before and pasting after."""
    images = ImageList(x, [tuple(x.shape[-2:])])
    levels = model.backbone(x)
    proposals, _ = model.rpn(images, levels)
    found, _ = model.roi_heads(levels, proposals, images.image_sizes)
    return found[0]


def old_names(state):
    """The names of torchvision before 0.13, as the published file has them."""
    renamed = OrderedDict()
    for key, value in state.items():
        if "fpn" in key:
            key = key.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        if "mask_head" in key:
            number = int(key.split(".")[2])
            key = key.replace(f"{number}.0.", f"mask_fcn{number + 1}.")
        renamed[key] = value
    return renamed


def converted(state, tmp_path, dataset=None):
    torch.save(state, tmp_path / "in.pth")
    title = convert(tmp_path / "in.pth", tmp_path / "out.safetensors", dataset)
    return title, srzoo.load_model(tmp_path / "out.safetensors").eval()


def assert_same(found, wanted, labels=None, **tolerance):
    wanted = {**wanted, "masks": wanted["masks"][:, 0]}
    wanted["labels"] = wanted["labels"] - 1 if labels is None else labels[wanted["labels"]]
    assert len(wanted["boxes"]) > 20 and len(wanted["labels"].unique()) > 2
    assert found.keys() == wanted.keys()
    found = paired(found, wanted) if tolerance else found
    for key, value in wanted.items():
        if tolerance and key != "labels":
            torch.testing.assert_close(found[key], value.to(found[key].dtype), **tolerance)
        else:
            assert torch.equal(found[key], value), key


@pytest.mark.parametrize("names", ["new", "old"])
@torch.inference_mode()
def test_own_classes_compute_the_same_bits(names, tmp_path):
    theirs = small(7)
    state = theirs.state_dict()
    title, model = converted(old_names(state) if names == "old" else state, tmp_path)
    assert title == "Mask R-CNN of torchvision, over resnet18, 6 classes"
    assert model.config.name == "mask_rcnn" and model.config.classes[5] == "class 5"
    assert model.config.options["mask_layers"] == (32, 32)
    assert (model.config.transform.short_side, model.config.transform.long_side) == (800, 1333)
    x = picture().float()
    assert_same(model(x)[0], detections(theirs, x))


def coco_labels():
    """From their 91 outputs to class ids."""
    table = torch.full((91,), -1)
    table[list(COCO_CATEGORY_IDS[:80])] = torch.arange(80)
    return table


def silence_unused(model):
    """As after training on COCO, where the outputs of the ten unused categories are never found."""
    model.roi_heads.box_predictor.cls_score.bias.data[UNUSED] = -1000
    return model


@torch.inference_mode()
def test_91_outputs_become_coco_s_80_classes(tmp_path):
    theirs = silence_unused(small(91))
    title, model = converted(theirs.state_dict(), tmp_path)
    assert title == "Mask R-CNN of torchvision, over resnet18, 80 classes of coco"
    assert model.config.labels == COCO_INSTANCE and UNUSED == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    x = picture()
    assert_same(model.double()(x)[0], detections(theirs.double(), x), coco_labels(), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_frozen_norms_without_eps(tmp_path):
    """With channels that are almost constant, whose variance is far below 1e-5."""
    theirs = small(7, FrozenBatchNorm2d)
    _utils.overwrite_eps(theirs, 0.0)
    norm = theirs.backbone.body.layer2[0].bn1
    norm.running_var[3], norm.weight[3] = 1e-12, 1e-7
    norm.running_var[4] = 3e-5
    state = theirs.state_dict()
    assert not any("num_batches" in key for key in state)
    x = picture()
    _, model = converted(state, tmp_path)
    assert model.backbone.body.layer2[0].bn1.eps == 1e-5
    for found, wanted in zip(model.double().backbone(x).values(), theirs.double().backbone(x).values()):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    state["backbone.body.layer2.0.bn1.running_var"][3] = 0  # only a norm with an eps can have this
    _, model = converted(state, tmp_path)
    assert torch.equal(model.backbone.body.bn1.weight, state["backbone.body.bn1.weight"])


@pytest.mark.parametrize("version", [1, pytest.param(2, marks=pytest.mark.slow)])
@torch.inference_mode()
def test_the_networks_of_coco(version, tmp_path):
    build = maskrcnn_resnet50_fpn if version == 1 else maskrcnn_resnet50_fpn_v2
    theirs = silence_unused(settled(build(weights=None, weights_backbone=None, num_classes=91), 91))
    title, model = converted(theirs.state_dict(), tmp_path)
    assert title == "Mask R-CNN of torchvision, over resnet50, 80 classes of coco"
    assert model.config.name == "mask_rcnn_r50_coco"
    own = {"norm": True, "rpn_convs": 2, "box_layers": (256,) * 4} if version == 2 else {}
    assert model.config.options == {"backbone": "resnet50", "context": "none", **own}
    x = picture(96, 128).float()
    assert_same(model(x)[0], detections(theirs, x), coco_labels(), atol=1e-3, rtol=1e-4)


def test_a_dataset_for_own_classes(tmp_path):
    state = small(6).state_dict()
    title, model = converted(state, tmp_path, "facade")
    assert title.endswith("5 classes of facade") and "window" in model.config.classes
    with pytest.raises(ValueError, match="it has 5 classes .*coco has 80 classes"):
        converted(state, tmp_path, "coco")


def test_fine_tuning_a_converted_file_with_the_block(tmp_path):
    """The block starts as the identity, and other classes start from random predictors."""
    converted(small(7).state_dict(), tmp_path)
    load = functools.partial(srzoo.zoo.factory.trained_model, str(tmp_path / "out.safetensors"))
    x = picture(96, 128).float()
    with torch.no_grad():
        plain, block = load().eval()(x)[0], load(context="sr").eval()(x)[0]
    assert all(torch.equal(plain[key], block[key]) for key in plain)
    with pytest.warns(UserWarning, match="3 classes instead of 6.*cls_score"):
        model = load(num_classes=3, context="sr")
    assert model.roi_heads.box_predictor.cls_score.out_features == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("rpn.head.cls_logits.bias"), "lacks rpn.head.cls_logits.bias$"),
        (
            lambda s: s.update({"roi_heads.keypoint_head.0.weight": torch.zeros(2)}),
            "unexpected roi_heads.keypoint_head",
        ),
        (
            lambda s: s.update({"rpn.head.cls_logits.weight": torch.zeros(9, 32, 1, 1)}),
            r"cls_logits.weight of shape \(9, 32, 1, 1\) instead of \(3, 32, 1, 1\)",
        ),
        (lambda s: [s.pop(key) for key in list(s) if "mask" in key], "lacks roi_heads.mask_head.0.0.weight, and"),
        (lambda s: [s.pop(key) for key in list(s) if "body" in key and "conv1" not in key], "lacks backbone.body.bn1"),
    ],
)
def test_invalid_files(change, message, tmp_path):
    state = small(4).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message) as raised:
        converted(state, tmp_path)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]
