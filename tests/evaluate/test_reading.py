"""Which folder a model is evaluated on, and how it is read."""

import pytest

import srzoo
from srzoo.evaluate.reading import reading_for
from srzoo.recipes.recipe import default_recipe

FILES = ("images/a.png", "masks/a.png")


@pytest.fixture
def model(tmp_path):
    """A file of a run whose data was in the folder ``there``, read as another format than the one detected."""
    data = {"root": str(tmp_path / "there"), "format": "listed"}
    recipe = default_recipe("srnet_lite0_camvid", 4, data=data, start="random").to_yaml()
    srzoo.save_model(srzoo.create_model("srnet_lite0_camvid"), tmp_path / "m.safetensors", recipe=recipe)
    return tmp_path / "m.safetensors"


def test_the_folder_of_the_run_is_read_as_in_the_run(model, tmp_path):
    for name in FILES:
        for folder in ("there", "elsewhere"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).touch()
    there, elsewhere = str(tmp_path / "there"), str(tmp_path / "elsewhere")
    for given in ({}, {"root": f"{there}/"}):
        assert reading_for(model, "semantic", given) == {"root": there, "format": "listed"} | given
    assert reading_for(model, "semantic", {"format": "voc"}) == {"root": there, "format": "voc"}
    assert reading_for(model, "semantic", {"root": elsewhere}) == {"root": elsewhere, "format": "folder"}


def test_the_folder_of_the_run_is_gone(model):
    with pytest.raises(FileNotFoundError, match=r"there, .*m\.safetensors.*--data\.root"):
        reading_for(model, "semantic", {})
