import pytest
import torch

from srzoo import list_models, model_info
from srzoo.labels import LabelSet
from srzoo.labels.coco import COCO_CATEGORY_IDS, COCO_INSTANCE, COCO_PANOPTIC
from srzoo.labels.own import numbered_labels
from srzoo.recipes.recipe import load_recipe
from srzoo.zoo import registry
from srzoo.zoo.datasets import DATASETS, Dataset
from srzoo.zoo.foreign.download import DOWNLOADED
from srzoo.zoo.published import PUBLISHED
from srzoo.zoo.registry import Architecture, Backbone


def test_names_are_unique_and_split_into_their_parts():
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
    with pytest.raises(ValueError, match=f"'{name}'.*'{nearest}.*srzoo list"):
        registry.split_name(name)


def test_a_name_unlike_all_others_gets_no_suggestion():
    with pytest.raises(ValueError, match="'zzz'; .srzoo list"):
        registry.split_name("zzz")


def test_patterns_and_pretrained():
    assert list_models("srnet_r50*") == [
        "srnet_r50",
        *(f"srnet_r50_{dataset}" for dataset in ("ade20k", "camvid", "cityscapes", "facade", "pascal_context")),
    ]
    assert list_models(pretrained=True) == sorted([*PUBLISHED, *DOWNLOADED])


def test_a_registered_name_is_an_error():
    entry = registry.ARCHITECTURES["srnet_r50"]
    before = registry.names()
    for name in ("srnet_r50", "srnet_r50_camvid", "srnet"):
        with pytest.raises(ValueError, match=f"'{name}' .*another name"):
            registry.register(name, entry)
    assert registry.names() == before


def test_registering_an_architecture(monkeypatch):
    monkeypatch.setattr(registry, "ARCHITECTURES", dict(registry.ARCHITECTURES))
    resnet = Backbone("ResNet-18", {"backbone": "resnet18"})
    registry.register("mine", Architecture("Mine", "semantic", "srnet", resnet))
    datasets = ("ade20k", "camvid", "cityscapes", "facade", "pascal_context")
    assert list_models("mine*") == ["mine", *(f"mine_{dataset}" for dataset in datasets)]
    assert model_info("mine_camvid").description == "Mine, over ResNet-18, for the 11 classes of CamVid"


def test_an_entry_needs_a_dataset_with_labels_for_its_task(monkeypatch):
    monkeypatch.setattr(registry, "ARCHITECTURES", dict(registry.ARCHITECTURES))
    counted = Dataset("Counted", "", {"instance": numbered_labels(80), "semantic": numbered_labels(4)})
    monkeypatch.setitem(DATASETS, "counted", counted)
    resnet = Backbone("ResNet-18", {"backbone": "resnet18"})
    registry.register("boxes", Architecture("Boxes", "instance", "mask_rcnn", resnet))
    datasets = ("cityscapes", "coco", "counted", "facade")
    assert list_models("boxes*") == ["boxes", *(f"boxes_{dataset}" for dataset in datasets)]
    assert "srnet_r50_counted" in registry.names()
    info = model_info("boxes_counted")
    assert (info.task, len(info.classes)) == ("instance", 80)
    with pytest.raises(ValueError, match="'boxes_camvid'.*'boxes_[^']*'"):
        registry.split_name("boxes_camvid")


def test_an_architecture_may_have_another_recipe_for_a_dataset():
    assert registry.recipe_of("srnet_r50", "cityscapes") == "cityscapes"
    for name in ("srnet_dfv2", "dfseg_v1", "dfseg_v2"):
        assert registry.recipe_of(name, "cityscapes") == "cityscapes_realtime"
        assert registry.recipe_of(name, "ade20k") == "ade20k"


@pytest.mark.parametrize("name", registry.names())
def test_facts_of_every_entry(name):
    info = model_info(name)
    architecture, dataset = registry.split_name(name)
    assert (info.architecture, info.dataset) == (architecture, dataset)
    assert (
        len(info.classes) == len(info.palette) == (len(DATASETS[dataset].labels[info.task].classes) if dataset else 0)
    )
    assert info.recipe == (name if dataset else None)
    assert info.description.count(",") >= 2


def test_every_entry_has_a_recipe():
    """A recipe of its own name, or that of its dataset."""
    for name in registry.names():
        if registry.split_name(name)[1]:
            assert load_recipe(name).model == name


def test_real_time_entries_take_cityscapes_frames_at_full_size():
    for name in ("srnet_dfv2_cityscapes", "dfseg_v1_cityscapes", "dfseg_v2_cityscapes"):
        assert model_info(name).input_size == (1024, 2048)


CLASSES = {
    ("ade20k", "semantic"): 150,
    ("camvid", "semantic"): 11,
    ("cityscapes", "semantic"): 19,
    ("cityscapes", "instance"): 8,
    ("cityscapes", "panoptic"): 19,
    ("pascal_context", "semantic"): 59,
    ("facade", "semantic"): 10,
    ("coco", "instance"): 80,
    ("coco", "panoptic"): 133,
    ("facade", "instance"): 5,
    ("facade", "panoptic"): 10,
}


def test_every_dataset_s_labels_are_counted():
    assert set(CLASSES) == {(dataset, task) for dataset, data in DATASETS.items() for task in data.labels}


@pytest.mark.parametrize(("dataset", "task"), CLASSES)
def test_label_sets(dataset, task):
    labels, classes = DATASETS[dataset].labels[task], CLASSES[dataset, task]
    assert len(labels.classes) == len(set(labels.classes)) == len(labels.palette) == classes
    assert all(name == name.strip() != "" for name in labels.classes)
    assert all(type(channel) is int and 0 <= channel <= 255 for colour in labels.palette for channel in colour)
    assert all(len(colour) == 3 for colour in labels.palette)
    # ADE20K has one colour for two classes, road and skyscraper, and PASCAL Context takes its colours.
    shared = 1 if dataset in ("ade20k", "pascal_context") else 0
    assert len(set(labels.palette)) == classes - shared
    assert DATASETS[dataset].licence.startswith(DATASETS[dataset].title)


@pytest.mark.parametrize(("dataset", "things"), [("cityscapes", 8), ("coco", 80), ("facade", 5)])
def test_panoptic_labels_tell_things(dataset, things):
    instance, panoptic = (DATASETS[dataset].labels[task] for task in ("instance", "panoptic"))
    assert instance.things is None
    assert sum(panoptic.things) == things
    objects = [(panoptic.classes[i], panoptic.palette[i]) for i, is_thing in enumerate(panoptic.things) if is_thing]
    assert objects == list(zip(instance.classes, instance.palette))


def test_coco_s_ids():
    assert (len(COCO_CATEGORY_IDS), COCO_CATEGORY_IDS[:80][-1], COCO_CATEGORY_IDS[80], max(COCO_CATEGORY_IDS)) == (
        133,
        90,
        92,
        200,
    )
    ids = dict(zip(COCO_PANOPTIC.classes, COCO_CATEGORY_IDS))
    assert [ids[name] for name in ("person", "stop sign", "toothbrush", "road", "tree-merged")] == [1, 13, 90, 149, 184]
    # The ids that COCO does not use (torchvision's 'N/A' but the background)
    assert set(range(1, 91)) - set(COCO_CATEGORY_IDS) == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    theirs = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert [theirs[id] for id in COCO_CATEGORY_IDS[:80]] == list(COCO_INSTANCE.classes)


def test_too_few_colours_or_things():
    with pytest.raises(ValueError, match="2 classes.* 1 colours"):
        LabelSet(("a", "b"), ((0, 0, 0),))
    with pytest.raises(ValueError, match="2 classes, .* 1 "):
        LabelSet(("a", "b"), ((0, 0, 0), (1, 1, 1)), (True,))


def test_numbered_classes_have_distinct_colours():
    palette = numbered_labels(255).palette
    assert len(set(palette)) == 255
    assert (0, 0, 0) not in palette


def test_info_counts_and_licence_chain():
    info = model_info("srnet_r50_cityscapes")
    assert info.parameters == pytest.approx(38.2e6, rel=0.01)
    assert info.macs == pytest.approx(353.4e9 * 1024 * 2048 / 768**2, rel=0.01)  # 353.4 G at 768x768
    assert [line.split(":")[0].split(" ")[0] for line in info.licence] == ["srzoo", "ResNet", "Cityscapes"]
    assert info.metrics is None


@pytest.mark.parametrize("given", [torch.nn.Linear(3, 4), torch.nn.Sequential(*[torch.nn.ReLU()] * 99), None, 3])
def test_what_is_no_name_is_told_in_one_line(given):
    """A model given for its name wrote out all of its layers."""
    for call, message in ((model_info, "unknown model"), (list_models, "pattern.*string")):
        with pytest.raises(ValueError, match=message) as caught:
            call(given)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200
