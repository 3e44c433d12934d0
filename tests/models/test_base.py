import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch

import srzoo
from srzoo.labels.own import numbered_labels
from srzoo.models import SRNet
from srzoo.models.base import check_zoo_model
from srzoo.models.cost import multiply_adds


@pytest.fixture
def model():
    with torch.device("meta"):
        return srzoo.create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4)


def test_multiply_adds():
    with torch.device("meta"):
        conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        assert multiply_adds(lambda: conv(torch.empty(2, 3, 5, 7))) == 2 * 8 * 3 * 9 * 5 * 7


def test_reconfigure_replaces_only_what_is_given(model):
    before = model.config
    labels = dataclasses.replace(numbered_labels(3), classes=("soil", "crop", "weed"))
    model.reconfigure(labels=labels)
    assert model.config == dataclasses.replace(before, labels=labels)
    model.reconfigure(transform=dataclasses.replace(before.transform, short_side=96, multiple=1))
    assert model.config.labels == labels
    assert (model.config.transform.short_side, model.config.transform.multiple) == (96, 8)


def test_labels_for_another_number_of_classes(model):
    before = model.config
    with pytest.raises(ValueError, match="3 classes.* 5; .*num_classes=5"):
        model.reconfigure(labels=numbered_labels(5))
    assert model.config is before


@pytest.mark.parametrize(("stride", "divisor", "multiple"), [(16, 1, 16), (8, 12, 24), (32, 1, 32)])
def test_the_transform_has_the_network_s_multiple(stride, divisor, multiple):
    options = {"num_classes": 3, "output_stride": stride, "size_divisor": divisor}
    with torch.device("meta"):
        model = srzoo.create_model("srnet_lite0", **options)
    assert model.input_multiple == model.config.transform.multiple == multiple


def test_cost_is_that_of_a_forward_pass_and_does_not_change_the_model():
    model = srzoo.create_model("srnet_lite0_camvid").train()
    before = [value.clone() for value in model.state_dict().values()]
    cost = model.cost((96, 64))
    assert model.training
    assert all(torch.equal(*pair) for pair in zip(before, model.state_dict().values(), strict=True))
    on_meta = copy.deepcopy(model).eval().to("meta")  # on a CPU depthwise kernels have taps of zeros
    assert cost == multiply_adds(lambda: on_meta(torch.zeros(1, 3, 96, 64, device="meta")))
    assert model.half().cost((96, 64)) == cost


def test_objects_that_are_not_srzoo_s_models(model):
    check_zoo_model(model, "this")
    with pytest.raises(ValueError, match="this .* got the str 'srnet_r50'.*pretrained=True"):
        check_zoo_model("srnet_r50", "this")
    with pytest.raises(ValueError, match=r"this .* got DataParallel; pass its \.module$"):
        check_zoo_model(torch.nn.DataParallel(model), "this")
    with pytest.raises(ValueError, match=r"this .* got SimpleNamespace; pass its \.model$"):
        check_zoo_model(SimpleNamespace(model=model), "this")
    with torch.device("meta"):
        bare = SRNet("resnet18", 3, channels=32, nodes=4)
    check_zoo_model(bare, "this", configured=False)
    with pytest.raises(ValueError, match="Segmenter .* got SRNet without a config"):
        srzoo.Segmenter(bare)
    with pytest.raises(ValueError, match="reconfigure .* got SRNet without a config"):
        bare.reconfigure(labels=numbered_labels(3))
