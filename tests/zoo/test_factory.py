import pytest
import torch
from torch import nn

import srzoo
from srzoo.layers import CONTEXT_MODULES
from srzoo.models import NETWORKS, SRNet
from srzoo.zoo import registry
from srzoo.zoo.factory import trained_model


def test_dataset_gives_classes_and_transform():
    model = srzoo.create_model("srnet_lite0_cityscapes")
    assert model.num_classes == 19
    assert model.config.classes[0] == "road"
    assert model.config.transform.short_side == 1024
    assert model.config.transform.mean == (0.5, 0.5, 0.5)


def test_own_classes():
    model = srzoo.create_model("srnet_lite0_camvid", num_classes=4)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 4, 32, 32)
    assert model.config.classes == ("class 0", "class 1", "class 2", "class 3")


def test_things_of_own_classes():
    with torch.device("meta"):
        model = srzoo.create_model(
            "panoptic_fpn", backbone="test_efficientnet", classes=["car", "road"], things=[True, False]
        )
    assert (model.config.labels.things, model.thing_ids) == ((True, False), (0,))


LITE0, DFV2 = ("srnet_lite0_camvid",), ("srnet_dfv2_camvid",)


# The facts that an error must contain: the value, and the limit or the fix.
@pytest.mark.parametrize(
    ("arguments", "options", "facts"),
    [
        (("srnet_lite0",), {}, "'srnet_lite0' .*num_classes.*'srnet_lite0_camvid'"),
        (("srnet",), {}, "'srnet' .*num_classes$"),
        (("srnet",), {"num_classes": 3}, "'srnet' .*backbone='"),
        (("srnet",), {"num_classes": 3, "backbone": None}, "'srnet' .*backbone='"),
        (("srnet_r50_cityscapes", True), {}, "'srnet_r50_cityscapes'.* srnet_lite0_camvid.*srzoo train"),
        (("srnet_lite0_camvid", True), {"pretrained_backbone": True}, "pretrained_backbone out"),
        (("srnet_lite0_camvid", True), {"context": "none"}, "head.context.*leave out context, .*imagenet"),
        (("srnet_lite0_camvid", True), {"nodes": 8, "channels": 64}, "leave out nodes, channels"),
        (("srnet_lite0_camvid", "a.pth"), {}, "pretrained .*'a.pth'.*load_model"),
        (("srnet_lite9_camvid",), {}, "'srnet_lite9_camvid'.*'srnet_lite0_camvid'"),
        ((7,), {}, "model 7;.*srzoo list"),
        ((["srnet_r50"],), {}, r"model \['srnet_r50'\]"),
        (LITE0, {"num_classes": 0}, "num_classes .*1, got 0"),
        (LITE0, {"num_classes": "7"}, "num_classes .*1, got '7'"),
        (LITE0, {"num_classes": True}, "num_classes .*1, got True"),
        (LITE0, {"channels": -4}, "channels .*1, got -4"),
        (LITE0, {"size_divisor": 0}, "size_divisor .*1, got 0"),
        (LITE0, {"nodes": 3.5}, "nodes .*1, got 3.5"),
        (LITE0, {"nodes": "16"}, "nodes .*1, got '16'"),
        (LITE0, {"nodes": 7}, "64 .*nodes=7; pass nodes=1"),
        (LITE0, {"dropout": "0.1"}, "dropout .*0 to 1, got '0.1'"),
        (LITE0, {"align_corners": "no"}, "align_corners .*True or False, got 'no'"),
        (LITE0, {"context": ["sr"]}, r"context.* \['sr'\].* sr, "),
        (LITE0, {"context": nn.Identity}, r"context .*name.*Identity.*CONTEXT_MODULES\["),
        (LITE0, {"out_channels": 4}, "'out_channels' .*head"),
        (LITE0, {"pretrain": True}, "'pretrain'; .*'pretrained'"),
        (LITE0, {"class_names": ["a", "b"]}, "'class_names'; .*'classes'"),
        (LITE0, {"reasoning": ["fc"]}, r"reasoning \['fc'\].* graph, "),
        (LITE0, {"context": "none", "nodes": 4}, "'none' .*nodes"),
        (LITE0, {"decoder_strides": 8}, "decoder_strides .*tuple.* 8$"),
        (LITE0, {"decoder_strides": (4, 8)}, r"decoder_strides .*fall.* \(4, 8\)"),
        (LITE0, {"decoder_strides": (3,)}, r"stride 3.* \[2, 4, 8, 16\]"),
        (LITE0, {"decoder_channels": 0}, "decoder_channels .*1, got 0"),
        (LITE0, {"backbone": 3}, "backbone .* int$"),
        (LITE0, {"backbone_options": 3}, "backbone_options .*dict.* 3$"),
        (LITE0, {"pretrained_backbone": 3}, "pretrained_backbone .*True or .*file.* 3$"),
        (LITE0, {"things": (True,)}, "things .*classes or num_classes, got"),
        (("panoptic_fpn",), {"num_classes": 3, "things": (True, False)}, "things has 2 .*3 classes"),
        (("panoptic_fpn",), {"num_classes": 3, "things": "abc"}, "things .*True or False.*'abc'"),
        (LITE0, {"nodez": 3}, "'nodez'; .*align_corners, .*nodes, .*'nodes'"),
        (LITE0, {"in_chans": 4}, "'in_chans'; .*'in_channels'"),
        (LITE0, {"num_class": 4}, "'num_class'; .*'num_classes'"),
        (LITE0, {"backbone_options": {"in_chans": 4}}, "backbone_options .*in_chans=4.*in_channels"),
        (LITE0, {"context": "nl", "nodes": 4}, "context='nl' .*reduction, got nodes"),
        (LITE0, {"labels": ["a", "b"]}, r"labels .*LabelSet, got \['a', 'b'\].*classes="),
        (("mask_rcnn_lite0_coco",), {"in_chans": 4}, "'in_chans'; .*'in_channels'"),
        (("mask_rcnn_lite0_coco",), {"in_channels": 0}, "in_channels .*1, got 0"),
        (DFV2, {"output_stride": 8}, "'output_stride'; .*levels, "),
        (("dfseg_v1_camvid",), {"nodes": 8}, "'psp' takes bins, .*nodes"),  # its default context module is a pyramid
        (("dfseg_v1_camvid",), {"levels": (3, 4)}, r"levels .*three rising .*\(3, 4\)"),
        (("dfseg_v2_camvid",), {"levels": (7, 5, 3)}, r"levels .*three rising .*\(7, 5, 3\)"),
        (("dfseg_v2_camvid",), {"bins": 3}, "bins .*tuple.* 3$"),
        (("dfseg_v2_camvid",), {"kernel_size": 2}, "kernel_size .*odd.* 2$"),
        (("fcn_lite0_camvid",), {"nodes": 3}, "channels=None .*nodes.*pass channels"),
        (("srnet_r50_camvid",), {"multi_grid": (0, 1, 2)}, r"multi_grid .*1, got \(0, 1, 2\)"),
        (("srnet_r50_camvid",), {"backbone": "resnest50d"}, "multi_grid .*conv2.*'resnest50d'"),
        (("srnet_r50_camvid",), {"output_stride": 7}, "output_stride .*8, 16 or 32, got 7"),
        (("srnet_wrn38_camvid",), {"output_stride": 4}, "output_stride .*8, 16 or 32, got 4"),
        (("srnet",), {"num_classes": 3, "backbone": "resnet18", "output_stride": "8"}, "output_stride .* '8'"),
    ],
)
def test_errors_have_the_value_and_the_limit(arguments, options, facts):
    with pytest.raises(ValueError, match=facts) as raised, torch.device("meta"):
        srzoo.create_model(*arguments, **options)
    assert "\n" not in str(raised.value)


def test_pretrained_with_other_classes_replaces_only_the_classifiers():
    whole = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    with pytest.warns(UserWarning, match="srnet_lite0_camvid: 3 .*11.* aux_head.classifier.bias, .*") as warned:
        own = srzoo.create_model("srnet_lite0_camvid", pretrained=True, num_classes=3)
    assert warned[0].filename == __file__
    changed = [k for k, v in own.state_dict().items() if not torch.equal(v, whole.state_dict()[k])]
    assert sorted(changed) == sorted(
        f"{head}.{kind}" for head in ("classifier", "aux_head.classifier") for kind in ("weight", "bias")
    )


class AnyOptions(nn.Identity):
    """A user's context module that takes any option."""

    def __init__(self, channels: int, **options):
        super().__init__()
        self.options = options


def test_a_context_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setitem(CONTEXT_MODULES, "mine", AnyOptions)
    model = srzoo.create_model(*LITE0, context="mine", width=3)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    for each in (model, srzoo.load_model(tmp_path / "m.safetensors")):
        assert isinstance(each.head.context, AnyOptions) and each.head.context.options == {"width": 3}


class OfAnyNumber(nn.Identity):
    """A user's context module that hands positional arguments on."""

    def __init__(self, channels: int, *args, width: int = 3):
        super().__init__(*args)


def test_positional_arguments_of_a_context_are_no_option(monkeypatch):
    monkeypatch.setitem(CONTEXT_MODULES, "mine", OfAnyNumber)
    with pytest.raises(ValueError, match="'args'") as raised:
        srzoo.create_model(*LITE0, context="mine", args=3)
    assert "width" in str(raised.value) and "args," not in str(raised.value)
    with pytest.raises(ValueError, match="no option 'args'"):  # and not one of another context
        srzoo.create_model(*LITE0, args=3)


class Counted(SRNet):
    """With one more tensor that depends on the number of classes, and one that does not."""

    def __init__(self, backbone: str, num_classes: int, **options):
        super().__init__(backbone, num_classes, **options)
        self.boxes, self.scores = nn.Linear(8, 4 * num_classes), nn.Linear(8, 5)


def test_tensors_of_another_shape_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "counted", Counted)
    monkeypatch.setattr(registry, "ARCHITECTURES", dict(registry.ARCHITECTURES))
    resnet = registry.Backbone("ResNet-18", {"backbone": "resnet18"})
    registry.register("counted", registry.Architecture("Counted", "semantic", "counted", resnet, {"channels": 32}))
    model = srzoo.create_model("counted", num_classes=5, nodes=4)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match="3 .*5, so .*boxes.bias, boxes.weight, classifier.bias"):
        other = trained_model(tmp_path / "m.safetensors", 3)
    assert other.boxes.out_features == 12
    assert torch.equal(other.scores.weight, model.scores.weight)
    assert torch.equal(other.backbone.body.conv1.weight, model.backbone.body.conv1.weight)


def test_pretrained_with_options_that_do_not_fit():
    with pytest.raises(ValueError, match="srnet_lite0_camvid .*head.* instead of"):
        srzoo.create_model("srnet_lite0_camvid", pretrained=True, channels=64)


def test_any_timm_backbone():
    model = srzoo.create_model("srnet", backbone="convnext_atto", num_classes=7, channels=64).eval()
    assert model.output_stride == 8
    assert model(torch.zeros(1, 3, 45, 70)).shape == (1, 7, 45, 70)


def test_images_are_normalized_as_the_backbone_s_weights_expect():
    def mean(name, **options):
        return srzoo.create_model(name, num_classes=3, channels=32, **options).config.transform.mean

    imagenet, half = (0.485, 0.456, 0.406), (0.5, 0.5, 0.5)
    assert mean("srnet", backbone="resnet18") == imagenet
    assert mean("srnet", backbone="tf_efficientnet_lite0") == half
    assert mean("srnet_lite0_camvid") == half
    assert mean("srnet_lite0_camvid", backbone="efficientnet_lite0") == imagenet


def test_the_pyramid_s_rates_depend_on_the_stride():
    def rates(name, **options):
        with torch.device("meta"):
            model = srzoo.create_model(name, num_classes=3, context="aspp", **options)
        return [branch[0].dilation[0] for branch in model.head.context.atrous]

    assert rates("srnet_r50") == [12, 24, 36]
    assert rates("srnet_lite0") == [6, 12, 18]
    assert rates("dfseg_v1") == [3, 6, 9]
    assert rates("srnet_lite0", rates=(2, 4)) == [2, 4]
