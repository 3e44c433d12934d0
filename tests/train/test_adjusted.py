"""A run that is given more epochs, another rate or a limit of patience."""

import csv

import pytest

from srzoo.recipes.recipe import load_recipe
from srzoo.train import loop
from tests.train.test_loop import recipe_of, run

SHORT = {"epochs": 2, "evaluate_every": 1}


def rows_of(out):
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_more_epochs_and_another_rate(small_camvid, tmp_path, capsys, recwarn):
    run(small_camvid, tmp_path, recipe_of(**SHORT))
    capsys.readouterr()
    longer = recipe_of(epochs=4, evaluate_every=1, lr=1e-3, schedule="poly")
    run(small_camvid, tmp_path, longer)
    said = capsys.readouterr().out
    assert "resumes from step 2 of 4" in said
    assert "epochs=4 instead of 2" in said
    assert "lr=0.001 instead of 0.002" in said
    rows = rows_of(tmp_path)
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[2]["lr"]) == pytest.approx(1e-3 * (1 - 3 / 4) ** 0.9)
    assert load_recipe(tmp_path / "recipe.yaml") == longer
    assert not any("edited" in str(each.message) for each in recwarn)
    run(small_camvid, tmp_path, longer)
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(ValueError, match="step 4 already.* 2"):
        run(small_camvid, tmp_path, recipe_of(**SHORT))
    with pytest.raises(ValueError, match="weight_decay=0.01.*0.5"):
        run(small_camvid, tmp_path, recipe_of(epochs=5, weight_decay=0.5))


def test_patience(small_camvid, tmp_path, monkeypatch, capsys):
    figures = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    monkeypatch.setattr(loop._Trainer, "_figure", lambda self: next(figures))
    recipe = recipe_of(epochs=9, evaluate_every=1, patience=2)
    assert run(small_camvid, tmp_path, recipe) == 0.3
    assert [float(row["mIoU"]) for row in rows_of(tmp_path)] == [0.1, 0.3, 0.2, 0.3]
    assert run(small_camvid, tmp_path, recipe) == 0.3  # it stays finished
    assert "already finished" in capsys.readouterr().out
    assert run(small_camvid, tmp_path, recipe_of(epochs=5, evaluate_every=1, patience=9)) == 0.9


def test_trackers(small_camvid, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(loop.Accelerator, "log", lambda self, values, step, **_: seen.append((step, values)))
    monkeypatch.setattr(loop.Accelerator, "init_trackers", lambda self, name, **options: seen.append((name, options)))
    monkeypatch.setattr(loop.Accelerator, "end_training", lambda self: seen.append("end"))
    run(small_camvid, tmp_path / "run", recipe_of(**SHORT, trackers=["tensorboard"]))
    assert seen[0][0] == "srzoo"
    assert seen[0][1]["config"]["semantic.crop"] == 64
    assert [each[0] for each in seen[1:-1]] == [1, 2]
    assert "mIoU" in seen[1][1]
    assert seen[-1] == "end"


@pytest.mark.parametrize(
    ("trackers", "message"), [(["wandbb"], "'wandbb'.*did you mean|wandb"), (["aim"], "aim is not installed")]
)
def test_trackers_that_are_not_there(small_camvid, tmp_path, trackers, message):
    with pytest.raises(ValueError, match=message):
        run(small_camvid, tmp_path / "run", recipe_of(trackers=trackers))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, "step needs milestones"),
        ({"schedule": "cosine", "milestones": [1]}, r"cosine takes no milestones.*1\.0"),
        ({"schedule": "linear"}, "schedule.*linear"),
        ({"freeze": "head"}, "freeze.*head"),
        ({"patience": 0}, "patience.*0"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing.*focal"),
        ({"loss": "bce", "ohem": [0.7, 10]}, "ohem.*bce"),
        ({"loss": "hinge"}, "loss.*hinge"),
    ],
)
def test_invalid_keys(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe_of(**changes)


@pytest.mark.parametrize("loss", ["focal", "bce"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_losses_and_schedules_in_a_run(small_camvid, tmp_path, loss, schedule):
    recipe = recipe_of(epochs=1, loss=loss, schedule=schedule, vertical_flip=True, turns=True, leave_out=["sky"])
    run(small_camvid, tmp_path, recipe)
    assert float(rows_of(tmp_path)[0][f"loss/{loss}"]) > 0


def test_a_class_to_leave_out_must_exist(small_camvid, tmp_path):
    with pytest.raises(ValueError, match="leave_out: no class 'skye'"):
        run(small_camvid, tmp_path, recipe_of(leave_out=["skye"]))
