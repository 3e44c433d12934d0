import dataclasses
import json
import warnings

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import srzoo
from srzoo.cli import main
from srzoo.labels import LabelSet
from srzoo.recipes.recipe import Recipe
from srzoo.tasks.task import get_task, make_view
from srzoo.train.start import starting_model
from srzoo.zoo.weights import read_config

OWN = {"score": 0.6, "stuff_area": 7}  # thresholds


@pytest.fixture
def path(detector, tmp_path):
    """The file of a panoptic model with thresholds of its own."""
    model = detector("panoptic_fpn")
    model.reconfigure(thresholds=OWN)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_a_model_s_own_thresholds_come_before_the_defaults_and_after_what_is_given(path):
    task, config = get_task("panoptic"), read_config(path)
    assert config.thresholds == OWN
    assert make_view(task, {"score": 0.4}, config=config) == task.View(score=0.4, stuff_area=7)
    assert srzoo.Segmenter(path).view == task.View(**OWN)
    assert srzoo.Segmenter(path, stuff_area=9).view == task.View(score=0.6, stuff_area=9)


def test_figures_are_measured_with_their_own_defaults_before_the_model_s(detector):
    model = detector()
    model.reconfigure(thresholds={"score": 0.6})
    task = get_task("instance")
    assert make_view(task, {}, config=model.config).score == 0.6
    assert make_view(task, {}, measured=True, config=model.config).score == task.View.MEASURED["score"]


def test_results_are_those_of_the_model_s_own_thresholds(path):
    image = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)
    own, given = srzoo.Segmenter(path)(image), srzoo.Segmenter(path, score=0.5, stuff_area=4096)(image)
    assert own.segments and given.segments != own.segments
    assert all(each.area >= 7 if each.score is None else each.score >= 0.6 for each in own.segments)


def test_figures_are_of_the_model_s_own_thresholds_and_the_command_repeats_what_differs_from_it(path, scenes, capsys):
    assert main(["eval", "--model", str(path), "--data.root", str(scenes), "--score", "0.7", "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["view"] == dataclasses.asdict(get_task("panoptic").View(score=0.7, stuff_area=7))
    assert receipt["command"].endswith("--score 0.7")
    score = srzoo.evaluate(srzoo.load_model(path), scenes, score=0.7)
    assert score.figures == receipt["figures"]


def test_other_classes_have_no_thresholds_of_the_old_ones(path):
    labels = LabelSet(("a", "b"), ((0, 0, 0), (9, 9, 9)), (True, False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert srzoo.zoo.factory.trained_model(path, labels=labels).config.thresholds == {}
    assert srzoo.zoo.factory.trained_model(path).config.thresholds == OWN
    model = srzoo.load_model(path)
    model.reset_classifier(labels=labels)
    assert model.config.thresholds == {}


@pytest.mark.parametrize(
    ("network", "thresholds", "message"),
    [
        ("panoptic_fpn", {"scor": 0.6}, r"thresholds\.scor .*score, overlap, stuff_area.* 0\.6"),
        ("panoptic_fpn", {"score": 7}, r"thresholds\.score must be .* 1, got 7"),
        ("panoptic_fpn", {"stuff_area": 0.5}, r"stuff_area must be a whole number .*0\.5"),
        ("mask_rcnn", {"overlap": 0.3}, r"overlap .*instance models have score"),
        ("mask_rcnn", {"score": None}, r"score .*None"),
        ("mask_rcnn", 0.6, "thresholds must be a mapping"),
    ],
)
def test_invalid_thresholds_are_told_and_change_nothing(network, thresholds, message, detector):
    model = detector(network)
    before = model.config
    with pytest.raises(ValueError, match=message) as raised:
        model.reconfigure(thresholds=thresholds)
    assert "\n" not in str(raised.value) and model.config is before


def test_invalid_thresholds_of_a_file_are_told_with_its_name(path):
    config, content = read_config(path), load_file(path)
    header = json.loads(config.to_json()) | {"thresholds": {"score": [1]}}
    save_file(content, path, {"srzoo": json.dumps(header)})
    with pytest.raises(ValueError, match=r"m\.safetensors is not .*: thresholds\.score must be a number .*\[1\]"):
        srzoo.load_model(path)


@pytest.mark.parametrize(("task", "known"), [("instance", ["score"]), ("panoptic", ["score", "overlap", "stuff_area"])])
def test_every_threshold_is_an_option_of_the_task(task, known):
    view = get_task(task).View()
    assert make_view(get_task(task), {name: getattr(view, name) for name in known}) == view


def test_a_training_starts_without_the_thresholds_of_the_weights_it_starts_from(path):
    labels = read_config(path).labels
    options = {name: value for name, value in read_config(path).options.items() if name != "context"}
    recipe = Recipe(model="panoptic_fpn", start=str(path), model_options=options, batch_size=2, lr=1e-3, steps=1)
    assert starting_model(recipe, labels, True).config.thresholds == {}


def test_info_shows_the_thresholds_of_a_file(path, capsys):
    assert main(["info", str(path)]) == 0
    assert "score 0.6, stuff_area 7" in capsys.readouterr().out
