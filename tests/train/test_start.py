"""The model that a run starts from."""

import pytest
import torch

import srzoo
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
