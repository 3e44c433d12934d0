"""Which folder a model is evaluated on."""

import pytest

import srzoo
from srzoo.evaluate.reading import reading_for
from srzoo.recipes.recipe import default_recipe


@pytest.fixture
def model(tmp_path):
    """A file of a run whose data was in the folder ``there``."""
    data = {"root": str(tmp_path / "there"), "format": "folder"}
    recipe = default_recipe("srnet_lite0_camvid", 4, data=data, start="random").to_yaml()
    srzoo.save_model(srzoo.create_model("srnet_lite0_camvid"), tmp_path / "m.safetensors", recipe=recipe)
    return tmp_path / "m.safetensors"


def test_a_model_s_own_folder_that_has_moved(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there, .*m\.safetensors.*--data\.root"):
        reading_for(model, "semantic", {})
    for folder in ("there/images", "there/masks"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").touch()
    for given in ({}, {"root": str(tmp_path / "there")}):
        assert reading_for(model, "semantic", given) == {"root": str(tmp_path / "there"), "format": "folder"}
