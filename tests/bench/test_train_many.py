import csv
import subprocess
import sys

import pytest
import yaml
from scipy import stats

QUEUE = {
    "base": {"model": "srnet_lite0", "epochs": 2, "semantic": {"crop": 64, "aux": 0.4}, "model_options": {"nodes": 4}},
    "axes": {
        "crop": {"small": {}, "large crop": {"semantic": {"crop": 96}}},
        "context": {"none": {"model_options": {"context": "none"}}, "sr": None},
    },
    "seeds": {"sr": 2, "other": 1},
}


@pytest.fixture
def many(load_bench):
    return load_bench("train_many")


def test_runs_of_a_queue(many):
    runs = many.runs_of(QUEUE)
    assert [run.name for run in runs] == [
        "small-none-0",
        "small-sr-0",
        "large_crop-none-0",
        "large_crop-sr-0",
        "small-sr-1",
        "large_crop-sr-1",
    ]
    assert runs[2].recipe == {
        "model": "srnet_lite0",
        "epochs": 2,
        "semantic": {"crop": 96, "aux": 0.4},
        "model_options": {"nodes": 4, "context": "none"},
        "seed": 0,
    }
    assert QUEUE["base"]["model_options"] == {"nodes": 4}
    with pytest.raises(ValueError, match="axis"):
        many.runs_of({"base": {}, "axis": {}})


@pytest.mark.parametrize("name", ["camvid_ablation", "camvid_rate"])
def test_recipes_of_the_queues(many, name):
    import torch

    from srzoo import create_model
    from srzoo.recipes.recipe import Recipe

    path = many.ROOT / "bench" / "queues" / f"{name}.yaml"
    runs = many.runs_of(yaml.safe_load(path.read_text()))
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        if run.seed == 0:
            recipe = Recipe.from_dict(run.recipe)
            with torch.device("meta"):
                create_model(recipe.model, **recipe.model_options)


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
folder, kind = sys.argv[1:]
if kind == "slow":
    time.sleep(60)
if kind == "bad":
    sys.exit(1)
open(folder + "/log.csv", "w").write("step,epoch,loss,mIoU,lr,seconds\\n1,1,2,0.5,0,3\\n2,2,1,,0,3\\n3,3,1,0.4,0,3\\n")
"""


@pytest.fixture
def queue(many, tmp_path, monkeypatch):
    """Makes queues whose trainings are a small script: "good", "bad" or "slow", by the value of their axis."""

    def start(self, run, jobs):
        folder = self.out / run.name
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), run.axes["kind"]])

    monkeypatch.setattr(many.Queue, "_start", start)

    def make(*kinds):
        runs = many.runs_of({"base": {}, "axes": {"kind": dict.fromkeys(kinds)}})
        return many.Queue(runs, "root", tmp_path / "out", "cpu", [])

    return make


def test_finished_runs_have_rows_and_failed_ones_none(queue):
    first = queue("good", "bad")
    assert first.work(2, 60) == 1
    with first.csv.open() as file:
        (row,) = csv.DictReader(file)
    assert [row[key] for key in ("run", "kind", "seed", "headline", "last", "best", "training_seconds")] == [
        "good-0",
        "good",
        "0",
        "mIoU",
        "0.4",
        "0.5",
        "9",
    ]
    assert [run.name for run in queue("good", "bad").missing()] == ["bad-0"]


def test_the_limit_ends_what_runs(queue, capsys):
    assert queue("slow", "good").work(1, 1.5) == 0
    assert "slow-0: stopped" in capsys.readouterr().out
    assert [run.name for run in queue("slow", "good").missing()] == ["slow-0", "good-0"]


def test_the_table(many):
    rows = [
        {"run": "", "head": "paper", "context": name, "seed": str(i), "headline": "mIoU", "last": str(value)}
        for name, values in {"none": (0.5, 0.52, 0.54), "sr": (0.53, 0.56), "se": (0.5,)}.items()
        for i, value in enumerate(values)
    ]
    none, sr, se = many.table(rows, "context")
    assert none == "paper none: 52.00 over 3 seeds, standard deviation 2.00"
    assert se == "paper se: 50.00 over 1 seeds"
    interval = stats.ttest_ind([53, 56], [50, 52, 54], equal_var=False).confidence_interval(0.95)
    assert f"{interval.low:+.2f} to {interval.high:+.2f}" in sr


@pytest.mark.slow
def test_a_queue_of_trainings(many, tmp_path, camvid):
    base = {
        "model": "srnet_lite0_camvid",
        "start": "random",
        "steps": 2,
        "batch_size": 2,
        "short_side": 64,
        "lr": 1e-3,
        "precision": "no",
        "semantic": {"crop": 64, "scale": [0.75, 1.5]},
    }
    axes = {"context": {name: {"model_options": {"context": name}} for name in ("none", "sr")}}
    runs = many.runs_of({"base": base, "axes": axes})
    queue = many.Queue(runs, str(camvid), tmp_path, "cpu", ["--workers", "0"])
    assert queue.work(2, 500) == 0
    assert [row["run"] for row in queue.rows()] == ["none-0", "sr-0"]
