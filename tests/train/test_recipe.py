import pytest

from srzoo.registry import names
from srzoo.train.recipe import Recipe, list_recipes, load_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_in_the_package_name_a_model(name):
    assert load_recipe(name).model in names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: x\nepoch: 3", r"unknown key 'epoch'; a recipe has model, batch_size"),
        ("model: x", "missing"),
        ("model: x\nepochs: 0\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 0.1", "epochs must be at least 1, got 0"),
        ("model: x\nepochs: 1\nbatch_size: 1\ncrop: 8\nscale: [2, 1]\nlr: 0.1", r"0 < low <= high, got \(2.0, 1.0\)"),
        ("model: x\nepochs: 1\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: fast", "lr must be a number, got 'fast'"),
        ("model: x\nepochs: 1\nsteps: 2\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 1", "one of the two; got 1 and 2"),
        (
            "model: x\nepochs: 1\noptimizer: adam\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 1e-3",
            "optimizer must be one of adamw, sgd, got 'adam'",
        ),
        ("- a list", "not a recipe"),
        ("a: [", "not YAML"),
    ],
)
def test_errors_name_the_key(text, message, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


def test_unknown_recipe_lists_the_known():
    with pytest.raises(ValueError, match="no recipe 'nope': give a YAML file or one of srnet_lite0_camvid"):
        load_recipe("nope")


def test_defaults_are_the_paper_s_where_it_has_them():
    recipe = Recipe("srnet_lite0_camvid", 1, 32, (1, 1), 0.1, epochs=1)
    assert recipe.power == 0.9
    assert recipe.seed == 0
