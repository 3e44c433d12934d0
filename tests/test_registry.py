import pytest

from srzoo import list_models, model_info, registry
from srzoo.data.labels import LABEL_SETS, LabelSet
from srzoo.published import PUBLISHED


def test_names_split_back_and_are_unique():
    names = registry.names()
    assert len(names) == len(set(names))
    for name in names:
        architecture, dataset = registry.split_name(name)
        assert name == (architecture if dataset is None else f"{architecture}_{dataset}")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("srnet_lite_camvid", "srnet_lite0_camvid"),
        ("srnet_r50_cityscape", "srnet_r50_cityscapes"),
        ("srnet_camvid", "srnet"),
    ],
)
def test_unknown_name_suggests_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"unknown model '{name}'; did you mean '{nearest}"):
        registry.split_name(name)


def test_a_name_far_from_all_suggests_none():
    with pytest.raises(ValueError, match="unknown model 'zzz'; `srzoo list` shows all"):
        registry.split_name("zzz")


def test_patterns_and_pretrained():
    assert list_models("srnet_r50*") == ["srnet_r50", "srnet_r50_camvid", "srnet_r50_cityscapes"]
    assert list_models(pretrained=True) == sorted(PUBLISHED)


@pytest.mark.parametrize("dataset", sorted(LABEL_SETS))
def test_label_sets(dataset):
    labels = LABEL_SETS[dataset]
    assert len(set(labels.classes)) == len(labels.classes)
    assert len(set(labels.palette)) == len(labels.palette)
    assert all(0 <= channel <= 255 for colour in labels.palette for channel in colour)


def test_a_colour_too_few_is_refused():
    with pytest.raises(ValueError, match="2 classes but 1 colours"):
        LabelSet(("a", "b"), ((0, 0, 0),), "")


def test_numbered_classes_have_distinct_colours():
    palette = registry.default_labels(None, 255).palette
    assert len(set(palette)) == 255
    assert (0, 0, 0) not in palette


def test_info_counts_and_licence_chain():
    info = model_info("srnet_r50_cityscapes")
    assert info.parameters == pytest.approx(38.2e6, rel=0.01)
    assert info.macs == pytest.approx(353.4e9 * 1024 * 2048 / 768**2, rel=0.01)  # 353.4 G at 768x768
    assert [line.split(":")[0].split(" ")[0] for line in info.licence] == ["srzoo", "ResNet", "Cityscapes"]
    assert info.metrics is None
