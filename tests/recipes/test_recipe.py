import json
import re
from dataclasses import asdict

import pytest
import yaml

import srzoo
from srzoo.recipes.recipe import Recipe, default_recipe, list_recipes, load_recipe, recipe_file
from srzoo.zoo.published import PUBLISHED
from srzoo.zoo.registry import names

SEMANTIC = ("cityscapes", "cityscapes_final", "cityscapes_realtime", "ade20k", "camvid", "pascal_context", "facade")
# Files without a model of their own, and a model to load each with.
DATASETS = {
    **dict.fromkeys(SEMANTIC, "srnet_r50_ade20k"),
    **{f"{dataset}_instance": "mask_rcnn_r50_coco" for dataset in ("coco", "cityscapes", "facade")},
    **{f"{dataset}_panoptic": "panoptic_fpn_r50_coco" for dataset in ("coco", "cityscapes", "facade")},
}


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_in_the_package(name):
    """The first line says whether the recipe has been run."""
    # Between the recipe of the model's name and that of its weights.
    parts = {f"{each}_{part}" for each in PUBLISHED for part in ("second", "third", "fourth")}
    was_run = name in {*PUBLISHED, *parts, *(each.recipe for each in PUBLISHED.values())}
    assert recipe_file(name).read_text().startswith("# Not run yet.") != was_run
    recipe = load_recipe(name, **({"model": DATASETS[name]} if name in DATASETS else {}))
    assert recipe.model in names()
    assert name in {recipe.model, *parts, f"{recipe.model}_final", *DATASETS}
    assert not (recipe.optimizer == "sgd" and recipe.model in PUBLISHED)


def test_model_without_its_own_recipe_has_that_of_its_dataset():
    detector = load_recipe("srnet_mask_rcnn_r101_coco")
    assert (detector.schedule, detector.milestones) == ("step", (8, 11))
    assert load_recipe("panoptic_fpn_r50_coco").options.semantic_weight == 0.5
    assert load_recipe("fcn_r101_ade20k") == load_recipe("ade20k", model="fcn_r101_ade20k")
    assert load_recipe("dfseg_v1_cityscapes") == load_recipe("cityscapes_realtime", model="dfseg_v1_cityscapes")
    assert load_recipe("dfseg_v1_ade20k").options.crop == 512
    assert load_recipe("fcn_lite0_camvid").epochs == load_recipe("srnet_lite0_camvid").epochs
    with pytest.raises(ValueError, match="^recipe cityscapes .* model.*--model VALUE"):
        load_recipe("cityscapes")


@pytest.mark.parametrize(
    ("name", "length", "crop", "batch_size"),
    [
        ("srnet_r101_cityscapes", (None, 60000), 769, 8),
        ("srnet_wrn38_cityscapes_final", (None, 120000), 832, 8),
        ("srnet_dfv2_cityscapes", (None, 50000), 1024, 16),
        ("srnet_r101_ade20k", (120, None), 512, 16),
        ("srnet_r101_pascal_context", (100, None), 480, 16),
        ("srnet_r101_camvid", (100, None), 640, 16),
    ],
)
def test_settings_of_the_paper(name, length, crop, batch_size):
    recipe = load_recipe(name)
    assert (recipe.epochs, recipe.steps) == length
    assert (recipe.options.crop, recipe.batch_size) == (crop, batch_size)
    assert (recipe.optimizer, recipe.momentum, recipe.lr, recipe.weight_decay) == ("sgd", 0.9, 1e-2, 5e-4)
    assert recipe.ema_decay == 0
    options = recipe.options
    assert (options.class_weights, options.lovasz, options.aux) == (False, 0, 0.4)
    assert (options.ohem is not None) == (length[1] in (60000, 120000))


def test_recipe_with_a_base(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("base: srnet_lite0_camvid\nsteps: 10\nmodel_options: {num_classes: 3}\n")
    mine_too = tmp_path / "mine_too.yaml"
    mine_too.write_text(f"base: {mine}\nlr: 1e-4\n")
    wanted = load_recipe("srnet_lite0_camvid", steps=10, model_options={"num_classes": 3}, lr=1e-4)
    assert load_recipe(mine_too) == wanted
    assert wanted.epochs is None
    mine.write_text(f"base: {mine_too}\n")
    with pytest.raises(ValueError, match=r"mine_too\.yaml .*own base"):
        load_recipe(mine_too)
    mine.write_text("base: nope\n")
    with pytest.raises(ValueError, match="'nope'"):
        load_recipe(mine_too)


MODEL = "model: srnet_lite0_camvid"
BRIEF = f"{MODEL}\nepochs: 1\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 0.1"


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{MODEL}\nepoch: 3", "'epoch'.*'epochs'"),
        (
            "model: srnet_lite0_camvid\ncrop: 8\nscale: [1, 2]",
            "no batch_size.*--batch_size VALUE",
        ),
        (
            "model: srnet_lite0_camvid\nepochs: 0\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 0.1",
            "epochs .*1 or more.* 0$",
        ),
        (
            "model: srnet_lite0_camvid\nepochs: 1\nbatch_size: 1\ncrop: 8\nscale: [2, 1]\nlr: 0.1",
            r"semantic\.scale .*low <= high.* \(2\.0, 1\.0\)",
        ),
        (
            "model: srnet_lite0_camvid\nepochs: 1\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: fast",
            "lr .*number.*'fast'",
        ),
        (
            "model: srnet_lite0_camvid\nepochs: 1\nsteps: 2\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 1",
            "epochs=1 .*steps=2",
        ),
        (
            f"{MODEL}\nepochs: 1\noptimizer: adam\nbatch_size: 1\ncrop: 8\nscale: [1, 2]\nlr: 1e-3",
            "optimizer .*adamw, sgd.*'adam'",
        ),
        (f"{BRIEF}\nmilestones: a", "milestones .*number.*'a'"),
        (f"{BRIEF}\nmilestones: true", "milestones .*number.* True"),
        (f"{BRIEF}\nclip_norm: 0", "clip_norm .*above 0, got 0"),
        (f"{BRIEF}\nstart: ''", "start .*published, imagenet, random.* ''$"),
        (f"{BRIEF}\nin_channels: 4", r"'in_channels'; .*model_options: \{in_channels: "),
        (f"{BRIEF}\nin_chans: 4", r"'in_chans'; .*model_options: \{in_channels: "),
        (f"{BRIEF}\njitter: 1.5", r"jitter .* 0 to 1.* 1\.5"),
        (f"{BRIEF}\npower: -1", r"power .*\b0 or more.* -1"),
        (f"{BRIEF}\nweight_decay: .nan", r"weight_decay .*\b0 or more.* nan"),
        (f"{BRIEF}\nlovasz: .inf", r"lovasz .*\b0 or more.* inf"),
        (f"{BRIEF}\nscale: 0.5", r"scale .*two numbers.* 0\.5"),
        (f"{BRIEF}\nscale: [0.5, 1, 2]", r"scale .*two numbers.* \[0\.5, 1, 2\]"),
        (f"{BRIEF}\nohem: [0.7, many]", "ohem .*whole number.*'many'"),
        (f"{BRIEF}\nohem: none", "ohem .*two numbers or null.*'none'"),
        (f"{BRIEF}\nbatch_size: 2.5", r"batch_size .*whole number.* 2\.5"),
        (f"{BRIEF}\nseed: true", "seed .*whole number.* True"),
        (f"{BRIEF}\ncompile: maybe", "compile .*true or false.*'maybe'"),
        (f"{BRIEF}\nclass_weights: 1", "class_weights .*true, false or .*number.* 1$"),
        (f"{BRIEF}\nmodel_options: nodes", "model_options .*'nodes'"),
        (f"{BRIEF}\nmodel: 3", "model .* 3$"),
        ("- a list", r"r\.yaml .*recipe"),
        (f"{BRIEF}\n1: a", " 1; .* model, start,"),
        (f"{BRIEF}\nbase: 3", "base .* 3$"),
        (f"{BRIEF}\nscale: [0.5, .inf]", r"scale .*0\.01 to 16.* \(0\.5, inf\)"),
        (f"{BRIEF}\nclass_weights: [-1, 1]", r"class_weights .*\b0 or more.* \(-1\.0, 1\.0\)"),
        (f"{BRIEF}\nclass_weights: [.nan, 1]", r"class_weights .*\b0 or more.* \(nan, 1\.0\)"),
        (f"{BRIEF}\nclass_weights: [0, 0]", r"class_weights .* not all 0.* \(0\.0, 0\.0\)"),
        (f"{BRIEF}\nohem: [7, 10]", r"ohem .* 0 to 1 .* \(7\.0, 10\)"),
        (f"{BRIEF}\nseed: -1", "seed .* 0 to 4294967295.* -1"),
        (f"{BRIEF}\npretrained_backbone: 3", "pretrained_backbone .*true, false.* 3$"),
        ("a: [", r"r\.yaml .*YAML"),
    ],
)
def test_error_has_key_limit_and_value(text, message, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_values_are_converted_to_their_types(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"{BRIEF}\nohem: [0.7, 1e5]\nprecision: no\nlr: 1e-3\nbatch_size: 8.0")
    recipe = load_recipe(path)
    assert (recipe.options.ohem, recipe.precision, recipe.lr, recipe.batch_size) == ((0.7, 100_000), "no", 1e-3, 8)
    assert isinstance(recipe.batch_size, int)
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(("key", "value"), [("model_options", "nodes"), ("epochs", 2.5), ("batch_size", "four")])
def test_error_in_an_override_of_the_default_recipe(key, value):
    with pytest.raises(ValueError, match=f"^recipe: {key} .*{value}"):
        default_recipe("srnet_lite0_camvid", 10, **{key: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [("nope", ""), ("srnet_r50", ""), ("srnet_r50_ade20", "'srnet_r50_ade20k'"), ("cityscape", "'cityscapes")],
)
def test_unknown_recipe(name, meant):
    with pytest.raises(ValueError, match=f"'{name}'.*{meant}.*YAML file"):
        load_recipe(name)


def test_defaults():
    recipe = Recipe(model="srnet_lite0_camvid", batch_size=1, lr=0.1, epochs=1)
    assert recipe.power == 0.9
    assert recipe.seed == 0


def test_old_names_of_keys_load_with_one_warning(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"{BRIEF}\nlovasz: 0")
    with pytest.warns(FutureWarning) as said:
        old = load_recipe(path)
    (text,) = [str(warning.message) for warning in said]
    assert text.startswith(f"recipe {path}: ") and "\n" not in text
    assert all(re.search(rf"\b{name} .*semantic\.{name}\b", text) for name in ("crop", "scale", "lovasz"))
    path.write_text(old.to_yaml())
    assert load_recipe(path) == old
    assert yaml.safe_load(old.to_yaml())["semantic"]["crop"] == 8
    with pytest.warns(FutureWarning, match=r"^recipe: crop .*semantic\.crop\b"):
        assert load_recipe(path, crop=16) == load_recipe(path, **{"semantic.crop": 16})
    assert load_recipe(path, semantic={"crop": 16}).options.crop == 16


def test_a_base_is_found_beside_the_recipe_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "base.yaml").write_text("base: srnet_lite0_camvid\nlr: 0.25")
    (tmp_path / "own" / "mine.yaml").write_text("base: ../base.yaml\nepochs: 3")
    (tmp_path / "own" / "loop.yaml").write_text("base: ../own/loop.yaml")
    for folder in (tmp_path, tmp_path / "own", "/"):
        monkeypatch.chdir(folder)
        recipe = load_recipe(tmp_path / "own" / "mine.yaml")
        assert (recipe.lr, recipe.epochs) == (0.25, 3)
        with pytest.raises(ValueError, match=r"loop\.yaml .*own base"):
            load_recipe(tmp_path / "own" / "loop.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("own/mine.yaml").lr == 0.25


def test_blocks_of_a_base_and_of_the_recipe_are_joined(tmp_path):
    mine, mine_too = tmp_path / "mine.yaml", tmp_path / "mine_too.yaml"
    mine.write_text("base: srnet_lite0_camvid\nsemantic: {crop: 64, ohem: [0.7, 100]}")
    mine_too.write_text(f"base: {mine}\nsemantic: {{ohem: null}}")
    wanted = {**asdict(load_recipe("srnet_lite0_camvid").options), "crop": 64}
    assert asdict(load_recipe(mine_too).options) == wanted


@pytest.mark.parametrize(
    ("old", "start"),
    [
        ("pretrained: true", "published"),
        ("pretrained: true\npretrained_backbone: true", "published"),
        ("pretrained: false\npretrained_backbone: true", "imagenet"),
        ("pretrained_backbone: true", "imagenet"),
        ("pretrained_backbone: false", "random"),
        ("pretrained_backbone: some.pth", "some.pth"),
    ],
)
def test_old_keys_of_the_start_weights(old, start, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"base: srnet_lite0_camvid\n{old}")
    with pytest.warns(FutureWarning, match=f"pretrained.* start.*'{start}'"):
        assert load_recipe(path).start == start


@pytest.mark.parametrize(("name", "start"), [("srnet_dfv2_camvid", "random"), ("srnet_lite0_camvid", "imagenet")])
def test_the_old_key_pretrained_false_does_not_change_the_start(name, start, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"base: {name}\npretrained: false")
    with pytest.warns(FutureWarning, match="pretrained is now start .* not change"):
        assert load_recipe(path).start == start
    with pytest.warns(FutureWarning, match="pretrained is now start .* not change"):
        assert load_recipe(name, pretrained=False).start == start


def test_file_to_start_from_names_the_model(tmp_path):
    file = tmp_path / "own.safetensors"
    srzoo.save_model(srzoo.create_model("srnet_lite0", num_classes=3), file)
    recipe = default_recipe(str(file), 10)
    assert (recipe.model, recipe.start) == ("srnet_lite0", str(file))
    assert default_recipe("srnet_lite0_camvid", 10).start == "published"
    assert default_recipe("srnet_r50_camvid", 10).start == "imagenet"


def test_recipe_round_trip_by_dict_and_json():
    recipe = load_recipe("srnet_r50_cityscapes", seed=3)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.flat()["semantic.ohem"] == (0.7, 800_000)


def test_old_false_of_a_published_model_starts_from_its_backbone():
    with pytest.warns(FutureWarning, match="start, here 'imagenet'"):
        assert default_recipe("srnet_lite0_camvid", 40, pretrained=False).start == "imagenet"
    with pytest.warns(FutureWarning, match="does not change"):
        assert load_recipe("srnet_dfv2_camvid", pretrained=False).start == "random"
