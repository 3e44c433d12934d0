"""Tests of every architecture of the zoo, on the meta device, where large models take no time and memory."""

import pytest
import torch

import srzoo
from srzoo.models.cost import multiply_adds
from srzoo.zoo import registry
from srzoo.zoo.datasets import DATASETS

ARCHITECTURES = [
    name for name, entry in registry.ARCHITECTURES.items() if entry.has_backbone and entry.task == "semantic"
]
every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def build(name: str, **options) -> torch.nn.Module:
    with torch.device("meta"):
        return srzoo.create_model(name, **options)


@every_architecture
@pytest.mark.parametrize("training", [True, False])
def test_any_size_at_batch_size_1(name, training):
    model = build(name, num_classes=7).train(training)
    for size in ((32, 32), (47, 33), (129, 65)):
        logits, aux = model(torch.empty(1, 3, *size, device="meta"), return_aux=True)
        assert logits.shape == aux.shape == (1, 7, *size)
    assert model(torch.empty(2, 3, 65, 65, device="meta"), upsample=False).shape[:2] == (2, 7)


# Parameters of the model with 19 classes, with its auxiliary head, and those that each further class adds.
PARAMETERS = {
    "srnet_r50": (38_198_502, 770),
    "srnet_r101": (57_190_630, 770),
    "srnet_wrn38": (129_066_598, 770),
    "srnet_lite0": (3_617_026, 94),
    "srnet_dfv2": (18_878_022, 514),
    "fcn_r50": (26_035_430, 2306),
    "fcn_r101": (45_027_558, 2306),
    "fcn_wrn38": (107_505_254, 4354),
    "fcn_lite0": (3_087_858, 94),
    "dfseg_v1": (9_375_558, 514),
    "dfseg_v2": (18_829_638, 514),
}


@pytest.mark.parametrize("name", [name for name in registry.names() if registry.split_name(name)[1]])
def test_an_entry_has_the_labels_and_transform_of_its_dataset(name):
    model, labels = build(name), DATASETS[registry.split_name(name)[1]].labels[srzoo.model_info(name).task]
    assert model.num_classes == len(labels.classes)
    assert (model.config.classes, model.config.palette) == (labels.classes, labels.palette)
    assert model.config.transform == srzoo.model_info(name).transform
    if model.task != "semantic":
        assert model.config.transform.fit == "pad"
        return
    at_19, each = PARAMETERS[registry.split_name(name)[0]]
    assert sum(p.numel() for p in model.parameters()) == at_19 + (model.num_classes - 19) * each


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if "levels" not in registry.ARCHITECTURES[n].options])
@pytest.mark.parametrize("stride", [16, 32])
def test_other_output_strides(name, stride):
    """Without DFSeg, whose strides follow from its levels."""
    model = build(name, num_classes=7, output_stride=stride).eval()
    assert model.output_stride == model.backbone.strides[-1] == stride
    assert model(torch.empty(1, 3, 65, 97, device="meta")).shape == (1, 7, 65, 97)


def backbone_of(name: str) -> tuple[int, int]:
    """Parameters and multiply-adds at 768x768 of a model's backbone."""
    backbone = build(name, num_classes=19).eval().backbone
    macs = multiply_adds(lambda: backbone(torch.empty(1, 3, 768, 768, device="meta")))
    return sum(p.numel() for p in backbone.parameters()), macs


def test_dilated_fcn_has_the_paper_s_cost():
    parameters, macs = backbone_of("fcn_r50")  # Table 3's first row, without the classifier
    assert parameters == pytest.approx(23.63e6, rel=0.01)
    assert macs == pytest.approx(241.05e9, rel=0.02)


def test_fcn_is_srnet_without_the_head():
    for key in ("r50", "r101", "wrn38", "lite0"):
        assert backbone_of(f"fcn_{key}") == backbone_of(f"srnet_{key}")
        assert list(build(f"fcn_{key}", num_classes=7).head.parameters()) == []


def test_fcn_takes_no_context_module():
    with pytest.raises(ValueError, match="channels=None .*context='sr'; pass channels"):
        srzoo.create_model("fcn_r50_camvid", context="sr")


def test_dilation_without_multi_grid():
    model = build("srnet_r50", num_classes=7, multi_grid=(1, 1, 1))
    assert [block.conv2.dilation[0] for block in model.backbone.body.layer4] == [4, 4, 4]
    assert [block.conv2.dilation[0] for block in model.backbone.body.layer3][1:] == [2] * 5
