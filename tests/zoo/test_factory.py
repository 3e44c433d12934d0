import pytest
import torch

import srzoo
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


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("srnet_lite0",), {}, "names no dataset: pass num_classes, or use a name such as 'srnet_lite0_camvid'"),
        (("srnet",), {"num_classes": 3}, "needs a backbone"),
        (("srnet",), {"num_classes": 3, "backbone": None}, "needs a backbone"),
        (("srnet_lite0_camvid",), {"channels": -4}, "channels must be a whole number of at least 1, got -4"),
        (("srnet_lite0_camvid",), {"size_divisor": 0}, "size_divisor must be a whole number of at least 1, got 0"),
        (
            ("srnet_r50_camvid",),
            {"multi_grid": (0, 1, 2)},
            r"multi_grid must be a tuple of whole numbers of at least 1, got \(0, 1, 2\)",
        ),
        (
            ("dfseg_v1_camvid",),
            {"levels": (3, 4)},
            r"levels must be three rising indices of features, fine to coarse, got \(3, 4\)",
        ),
        (("srnet_lite0_camvid",), {"nodez": 3}, "has no option 'nodez'; it takes align_corners, .* nodes, "),
        (("srnet_lite0_camvid",), {"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        (("srnet_lite0_camvid",), {"num_classes": "7"}, "num_classes must be a whole number of at least 1, got '7'"),
        (("srnet_lite0_camvid",), {"num_classes": True}, "num_classes must be a whole number of at least 1, got True"),
        (("srnet_lite0_camvid",), {"nodes": 3.5}, "nodes must be a whole number of at least 1, got 3.5"),
        (("srnet_lite0_camvid",), {"nodes": "16"}, "nodes must be a whole number of at least 1, got '16'"),
        (("srnet_lite0_camvid",), {"context": ["sr"]}, r"unknown context module \['sr'\]; choose one of sr, "),
        (("srnet_lite0_camvid",), {"reasoning": ["fc"]}, r"unknown reasoning \['fc'\]; choose one of graph, "),
        (("srnet_lite0_camvid",), {"in_chans": 4}, "has no option 'in_chans'; it takes "),
        (("srnet_dfv2_camvid",), {"output_stride": 8}, "has no option 'output_stride'; it takes .* levels, "),
        (("srnet_lite0_camvid",), {"dropout": "0.1"}, "dropout must be a number from 0 to 1, got '0.1'"),
        (("srnet_lite0_camvid",), {"align_corners": "no"}, "align_corners must be True or False, got 'no'"),
        (("srnet_lite0_camvid",), {"decoder_strides": 8}, "decoder_strides must be a tuple of whole numbers .* got 8"),
        (("srnet_lite0_camvid",), {"decoder_strides": (4, 8)}, r"decoder_strides must fall, .* got \(4, 8\)"),
        (("srnet_lite0_camvid",), {"decoder_channels": 0}, "decoder_channels must be a whole number .* got 0"),
        (("srnet_lite0_camvid",), {"backbone_options": 3}, "backbone_options must be a dict .* got 3"),
        (("srnet_lite0_camvid",), {"backbone": 3}, "backbone must be a name that timm knows, got int"),
        (
            ("srnet_lite0_camvid",),
            {"pretrained_backbone": 3},
            "pretrained_backbone must be True or a file's path, got 3",
        ),
        (("srnet_lite0_camvid", "a.pth"), {}, "pretrained must be True or False, got 'a.pth'; srzoo.load_model reads"),
        (("srnet_r50_camvid",), {"output_stride": 7}, "output_stride must be 8, 16 or 32, got 7"),
        (("srnet_wrn38_camvid",), {"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
        (
            ("srnet",),
            {"num_classes": 3, "backbone": "resnet18", "output_stride": "8"},
            "output_stride must be .* got '8'",
        ),
        (
            ("srnet_r50_camvid",),
            {"backbone": "resnest50d"},
            "blocks with a 3x3 convolution conv2; those of 'resnest50d'",
        ),
        (("fcn_lite0_camvid",), {"nodes": 3}, "channels=None gives no head to take nodes; pass channels"),
        (("dfseg_v2_camvid",), {"levels": (7, 5, 3)}, r"levels must be three rising .* got \(7, 5, 3\)"),
        (("dfseg_v2_camvid",), {"bins": 3}, "bins must be a tuple of whole numbers of at least 1, got 3"),
        (("dfseg_v2_camvid",), {"kernel_size": 2}, "kernel_size must be odd, .* got 2"),
        ((7,), {}, "unknown model 7; `srzoo list` shows all"),
        ((["srnet_r50"],), {}, r"unknown model \['srnet_r50'\]"),
        (("srnet_lite0_camvid",), {"nodes": 7}, "64 is not divisible by nodes=7"),
        (("srnet_lite0_camvid",), {"context": "none", "nodes": 4}, "takes no options, got nodes"),
        (("srnet_lite0_camvid",), {"decoder_strides": (3,)}, "no feature of stride 3, only of"),
        (("srnet_r50_cityscapes", True), {}, "no published weights .* srnet_lite0_camvid.*"),
        (("srnet_lite0_camvid", True), {"pretrained_backbone": True}, "leave pretrained_backbone out"),
        (("srnet_lite9_camvid",), {}, "did you mean 'srnet_lite0_camvid'"),
    ],
)
def test_errors_say_what_to_do(arguments, options, message):
    with pytest.raises(ValueError, match=message) as raised, torch.device("meta"):
        srzoo.create_model(*arguments, **options)
    assert "\n" not in str(raised.value)


def test_pretrained_with_other_classes_restarts_the_classifiers_only():
    whole = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    with pytest.warns(UserWarning, match="3 classes instead of 11, so .*classifier.weight.* start anew"):
        own = srzoo.create_model("srnet_lite0_camvid", pretrained=True, num_classes=3)
    changed = [k for k, v in own.state_dict().items() if not torch.equal(v, whole.state_dict()[k])]
    assert sorted(changed) == sorted(
        f"{head}.{kind}" for head in ("classifier", "aux_head.classifier") for kind in ("weight", "bias")
    )


def test_pretrained_with_other_options_is_refused():
    with pytest.raises(ValueError, match="do not fit this model: the file has head.* instead of"):
        srzoo.create_model("srnet_lite0_camvid", pretrained=True, channels=64)


def test_any_timm_backbone():
    model = srzoo.create_model("srnet", backbone="convnext_atto", num_classes=7, channels=64).eval()
    assert model.output_stride == 8
    assert model(torch.zeros(1, 3, 45, 70)).shape == (1, 7, 45, 70)


def test_images_are_normalised_as_the_backbone_s_weights_expect():
    def mean(name, **options):
        return srzoo.create_model(name, num_classes=3, channels=32, **options).config.transform.mean

    imagenet, half = (0.485, 0.456, 0.406), (0.5, 0.5, 0.5)
    assert mean("srnet", backbone="resnet18") == imagenet
    assert mean("srnet", backbone="tf_efficientnet_lite0") == half
    assert mean("srnet_lite0_camvid") == half
    assert mean("srnet_lite0_camvid", backbone="efficientnet_lite0") == imagenet


def test_the_pyramid_s_rates_follow_the_stride():
    def rates(name, **options):
        with torch.device("meta"):
            model = srzoo.create_model(name, num_classes=3, context="aspp", **options)
        return [branch[0].dilation[0] for branch in model.head.context.atrous]

    assert rates("srnet_r50") == [12, 24, 36]
    assert rates("srnet_lite0") == [6, 12, 18]
    assert rates("dfseg_v1") == [3, 6, 9]
    assert rates("srnet_lite0", rates=(2, 4)) == [2, 4]


def test_a_run_s_other_files_are_told_from_names(tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(ValueError, match=r"checkpoint.pt is no .safetensors file: a run's model is the model.safe"):
        trained_model(str(tmp_path / "checkpoint.pt"))
