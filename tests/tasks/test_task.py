import dataclasses
import json
import warnings

import numpy as np
import pytest

import srzoo
from srzoo.cli import main
from srzoo.labels import LabelSet
from srzoo.tasks.task import get_task, make_view
from srzoo.zoo.weights import read_config

OWN = {"score": 0.6, "stuff_area": 7}


@pytest.fixture
def path(detector, tmp_path):
    """The file of a panoptic model with a view of its own."""
    model = detector("panoptic_fpn")
    model.reconfigure(view=OWN)
    srzoo.save_model(model, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_a_model_s_own_view_comes_before_the_defaults_and_after_what_is_given(path):
    task, config = get_task("panoptic"), read_config(path)
    assert config.view == OWN
    assert make_view(task, {"score": 0.4}, config=config) == task.View(score=0.4, stuff_area=7)
    assert srzoo.Segmenter(path).view == task.View(**OWN)
    assert srzoo.Segmenter(path, stuff_area=9).view == task.View(score=0.6, stuff_area=9)


def test_figures_are_measured_with_their_own_defaults_before_the_model_s(detector):
    model = detector()
    model.reconfigure(view={"score": 0.6, "detections": 3})
    task = get_task("instance")
    view = make_view(task, {}, measured=True, config=model.config)
    assert (view.score, view.detections) == (task.View.MEASURED["score"], 3)


def test_results_are_those_of_the_model_s_own_view(path):
    image = np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8)
    own, given = srzoo.Segmenter(path)(image), srzoo.Segmenter(path, score=0.5, stuff_area=4096)(image)
    assert own.segments and given.segments != own.segments
    assert all(each.area >= 7 if each.score is None else each.score >= 0.6 for each in own.segments)


def test_figures_are_of_the_model_s_own_view_and_the_command_repeats_what_differs_from_it(path, scenes, capsys):
    assert main(["eval", "--model", str(path), "--data.root", str(scenes), "--score", "0.7", "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["view"] == dataclasses.asdict(get_task("panoptic").View(score=0.7, stuff_area=7))
    assert receipt["command"].endswith("--score 0.7")
    score = srzoo.evaluate(srzoo.load_model(path), scenes, score=0.7)
    assert score.figures == receipt["figures"]


def test_other_classes_have_no_view_of_the_old_ones(path):
    labels = LabelSet(("a", "b"), ((0, 0, 0), (9, 9, 9)), (True, False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert srzoo.zoo.factory.trained_model(path, labels=labels).config.view == {}
    assert srzoo.zoo.factory.trained_model(path).config.view == OWN
    model = srzoo.load_model(path)
    model.reset_classifier(labels=labels)
    assert model.config.view == {}


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"scor": 0.6}, "panoptic_fpn: panoptic models have no option 'scor'.*score"),
        ({"score": 7}, "panoptic_fpn: score .*7"),
        ({"tile": 512}, "no option 'tile'"),
        ({"stuff_area": "big"}, "stuff_area .*big"),
    ],
)
def test_a_view_that_the_task_does_not_have_is_told(view, message, detector):
    model = detector("panoptic_fpn")
    model.reconfigure(view=view)
    with pytest.raises(ValueError, match=f"configuration of {message}" if "fpn" in message else message) as raised:
        srzoo.Segmenter(model)
    assert "\n" not in str(raised.value)


def test_info_shows_the_view_of_a_file(path, capsys):
    assert main(["info", str(path)]) == 0
    assert "score 0.6, stuff_area 7" in capsys.readouterr().out
