"""The model that a run starts from."""

import pytest
import torch

import srzoo
from srzoo.labels import LabelSet
from srzoo.recipes.recipe import Recipe
from srzoo.train.start import starting_model

OPTIONS = {"backbone": "test_efficientnet", "num_classes": 3}
KEYS = {"batch_size": 2, "lr": 1e-3, "epochs": 1, "semantic.crop": 64, "semantic.scale": (1, 1)}


@pytest.fixture
def file(tmp_path):
    model = srzoo.create_model("srnet", channels=32, output_stride=16, **OPTIONS)
    srzoo.save_model(model, tmp_path / "srnet.safetensors")
    return str(tmp_path / "srnet.safetensors")


def test_the_backbone_of_another_architecture(file):
    recipe = Recipe.from_dict({**KEYS, "model": "srnet_lite0", "start": file, "model_options": OPTIONS})
    with pytest.warns(UserWarning, match=r"srnet\.safetensors holds srnet.*srnet_lite0"):
        model = starting_model(recipe, None, True)
    wanted = srzoo.load_model(file)
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, wanted.backbone.state_dict()[name]), name


def test_another_backbone(file):
    recipe = Recipe.from_dict({**KEYS, "model": "srnet_lite0", "start": file})
    with pytest.raises(ValueError, match="srnet over test_efficientnet.*srnet_lite0 over tf_efficientnet_lite0"):
        starting_model(recipe, None, True)


def test_more_channels_than_the_file_has(file):
    options = {"in_channels": 5, "channels": 32, "output_stride": 16}
    model = starting_model(Recipe.from_dict({**KEYS, "model": file, "model_options": options}), None, True)
    assert model(torch.rand(2, 5, 64, 64)).shape[1] == 3
    assert model.config.transform.channels == 5


def test_from_panoptic_to_instances_the_heads_are_shared(tmp_path):
    options = {"backbone": "test_efficientnet"}
    labels = LabelSet(("car", "tree"), ((1, 2, 3), (4, 5, 6)), things=(True, False))
    panoptic = srzoo.create_model("panoptic_fpn", labels=labels, **options)
    srzoo.save_model(panoptic, tmp_path / "panoptic.safetensors")
    keys = {"batch_size": 2, "lr": 1e-3, "epochs": 1, "model": "mask_rcnn", "model_options": options}
    recipe = Recipe.from_dict({**keys, "start": str(tmp_path / "panoptic.safetensors")})
    things = LabelSet(("car",), ((1, 2, 3),), things=(True,))
    with pytest.warns(UserWarning, match=r"its backbone and \d\d tensors of its heads"):
        model = starting_model(recipe, things, True)
    given, found = panoptic.state_dict(), model.state_dict()
    assert all(torch.equal(value, given[name]) for name, value in found.items())
    with pytest.warns(UserWarning, match="heads"):
        other = starting_model(recipe, LabelSet(("a", "b"), ((1, 2, 3), (4, 5, 6)), things=(True, True)), True)
    differ = {name for name, value in other.state_dict().items() if value.shape != given[name].shape}
    assert differ and all("predictor" in name for name in differ)


def test_heads_are_not_shared_by_classes_in_another_order(tmp_path):
    """Their rows would be those of other classes."""
    options, colours = {"backbone": "test_efficientnet"}, ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    labels = LabelSet(("car", "tree", "bus"), colours, things=(True, False, True))
    panoptic = srzoo.create_model("panoptic_fpn", labels=labels, **options)
    srzoo.save_model(panoptic, tmp_path / "panoptic.safetensors")
    keys = {"batch_size": 2, "lr": 1e-3, "epochs": 1, "model": "mask_rcnn", "model_options": options}
    recipe = Recipe.from_dict({**keys, "start": str(tmp_path / "panoptic.safetensors")})
    given = panoptic.state_dict()
    for names, parts in ((("car", "bus"), set()), (("bus", "car"), {"cls_score", "bbox_pred", "mask_fcn_logits"})):
        with pytest.warns(UserWarning, match=r"tensors of its heads"):
            model = starting_model(recipe, LabelSet(names, colours[:2]), True)
        differ = {name for name, value in model.state_dict().items() if not torch.equal(value, given[name])}
        assert {name.split(".")[-2] for name in differ} == parts


def test_modules_that_are_reset(file):
    keys = {**KEYS, "model": file, "model_options": {"channels": 32, "output_stride": 16}}
    wanted = srzoo.load_model(file).state_dict()
    for is_new in (True, False):
        torch.manual_seed(1)
        recipe = Recipe.from_dict({**keys, "reset": ["head.context", "classifier"]})
        found = starting_model(recipe, None, is_new).state_dict()
        differ = {name for name, value in found.items() if not torch.equal(value, wanted[name])}
        parts = {"head.context.transform", "head.context.pair", "classifier"} if is_new else set()
        assert {name.rpartition(".")[0] for name in differ} == parts
    with pytest.raises(ValueError, match=r"'head.contxt'.*head\.context"):
        starting_model(Recipe.from_dict({**keys, "reset": ["head.contxt"]}), None, True)


def test_the_name_of_a_published_model():
    keys = {"batch_size": 2, "lr": 1e-3, "epochs": 1, "model": "srnet_mask_rcnn_lite0_facade"}
    with pytest.warns(UserWarning, match="srnet_panoptic_fpn_lite0_facade: its backbone and"):
        model = starting_model(Recipe.from_dict({**keys, "start": "srnet_panoptic_fpn_lite0_facade"}), None, True)
    wanted = srzoo.create_model("srnet_panoptic_fpn_lite0_facade", pretrained=True).state_dict()
    differ = {name for name, value in model.state_dict().items() if not torch.equal(value, wanted[name])}
    assert all("predictor" in name for name in differ)


@pytest.mark.parametrize(("start", "meant"), [("pubished", "published"), ("srnet_lite0_camvd", "srnet_lite0_camvid")])
def test_a_mistyped_start(start, meant):
    recipe = Recipe.from_dict({**KEYS, "model": "srnet", "model_options": OPTIONS, "start": start})
    with pytest.raises(FileNotFoundError, match=f"start: .*{start}; .*'{meant}'.*imagenet"):
        starting_model(recipe, None, True)
    starting_model(recipe, None, False)  # a run that resumes needs it no more


def test_mean_and_std_of_the_recipe(file):
    keys = {**KEYS, "model": file}
    model = starting_model(Recipe.from_dict({**keys, "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}), None, True)
    assert (model.config.transform.mean, model.config.transform.std) == ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="1 values.* 3 channels"):
        starting_model(Recipe.from_dict({**keys, "mean": [0.5], "std": [0.5]}), None, True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": [0.5, 0.5, 0.5]}, "mean has 3 values and std 0"),
        ({"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}, "mean.*123.7"),
        ({"mean": [0.5], "std": [0.0]}, "std.*0.0"),
    ],
)
def test_invalid_mean_and_std(file, values, message):
    with pytest.raises(ValueError, match=message):
        Recipe.from_dict({**KEYS, "model": file, **values})
