import csv
import errno
import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

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
    axes, runs = many.plan(QUEUE)
    assert axes == {"crop": ["small", "large crop"], "context": ["none", "sr"]}
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


def test_values_may_be_numbers(many):
    axes, runs = many.plan({"base": {}, "axes": {"rate": {0.001: {"lr": 0.001}, 1: None}}, "seeds": {1: 2, "other": 1}})
    assert axes == {"rate": ["0.001", "1"]} and [run.name for run in runs] == ["0.001-0", "1-0", "1-1"]


@pytest.mark.parametrize("base", [{"semantic.crop": 64, "semantic.aux": 0.4}, {"semantic": {"crop": 64, "aux": 0.4}}])
@pytest.mark.parametrize("value", [{"semantic.crop": 96}, {"semantic": {"crop": 96}}])
def test_a_value_replaces_a_key_of_a_block_in_either_way_to_write_it(many, base, value):
    _, (run,) = many.plan({"base": base, "axes": {"crop": {"large": value}}})
    assert run.recipe == {"semantic": {"crop": 96, "aux": 0.4}, "seed": 0}


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ("base", "'base'"),
        ({"base": {}, "axis": {}}, "axis"),
        ({"base": {}, "axes": {}}, "{}"),
        ({"base": {}, "axes": {"context": ["none", "sr"]}}, "'sr'"),
        ({"base": {}, "axes": {"context": {"none": "sr"}}}, "'sr'"),
        ({"base": 3, "axes": {"context": {"none": {}}}}, "3"),
        ({"base": {}, "axes": {"seed": {"none": {}}}}, "'seed'"),
        ({"base": {}, "axes": {"best": {"none": {}}}}, "'best'"),
        ({"base": {}, "axes": {"device": {"none": {}}}}, "'device'"),
        ({"base": {}, "axes": {"jobs": {"none": {}}}}, "'jobs'"),
        ({"base": {}, "axes": {"context": {"a/b": {}}}}, "'a/b-0'"),
        ({"base": {}, "axes": {"context": {"../a": {}}}}, "'../a-0'"),
        ({"base": {}, "axes": {"context": {"a b": {}, "a_b": {}}}}, "'a_b-0'"),
        ({"base": {}, "axes": {"context": {"none": {}}}, "seeds": 0}, "0"),
        ({"base": {}, "axes": {"context": {"none": {}}}, "seeds": True}, "True"),
        ({"base": {}, "axes": {"context": {"none": {}}}, "seeds": {"sr": 3}}, "other"),
        ({"base": {}, "axes": {"context": {"none": {}, "sr": {}}}, "seeds": {"none": 3}}, "other"),
        ({"base": {}, "axes": {"context": {"none": {}}}, "seeds": {"nonee": 5, "other": 3}}, "'nonee'"),
        ({"base": {"seed": 5}, "axes": {"context": {"none": {}}}}, "seed=5"),
        ({"base": {}, "axes": {"context": {"none": {"seed": 7}}}}, "seed=7"),
    ],
)
def test_what_is_no_queue(many, queue, said):
    with pytest.raises(ValueError) as error:
        many.plan(queue)
    assert said in str(error.value) and "\n" not in str(error.value)


QUEUES = sorted((Path(__file__).parents[2] / "bench" / "queues").glob("*.yaml"))


@functools.cache
def built(model, options):
    import torch

    from srzoo import create_model

    with torch.device("meta"):
        create_model(model, **json.loads(options))


@pytest.mark.parametrize("path", QUEUES, ids=lambda path: path.stem)
def test_recipes_of_the_queues(many, path, tmp_path):
    from srzoo.recipes.recipe import load_recipe

    file = tmp_path / "recipe.yaml"
    for run in many.read_queue(path).runs:
        if run.seed == 0:
            file.write_text(yaml.safe_dump(run.recipe))
            recipe = load_recipe(file)
            built(recipe.model, json.dumps(recipe.model_options, sort_keys=True))


SCRIPT = """
import os, signal, sys, time
folder = sys.argv[sys.argv.index("--out") + 1]
kind = folder.rpartition("/")[2].partition("-")[0]
def end():
    rows = "1,1,2,0.5,0,3\\n2,2,1,,0,3\\n3,3,1,0.4,0,3\\n" if kind != "unmeasured" else "1,1,2,,0,3\\n"
    open(folder + "/log.csv", "w").write("step,epoch,loss,mIoU,lr,seconds\\n" + rows)
    sys.exit()
def stop(*_):
    print("stopped", flush=True)
    if kind == "done":
        end()
    sys.exit(143 if kind == "slow" else 2)
signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "deaf" else stop)
if kind in ("slow", "done", "full", "deaf"):
    print("started", flush=True)
    time.sleep(60)
if kind == "late":
    slow = folder.rpartition("/")[0] + "/slow-0.txt"
    while not (os.path.exists(slow) and "started" in open(slow).read()):
        time.sleep(0.02)
if kind == "bad":
    sys.exit("srzoo: no folder /nowhere")
end()
"""


BASE = {"model": "srnet_lite0_camvid", "epochs": 1, "batch_size": 2, "lr": 1e-3}
BASE |= {"semantic": {"crop": 64, "scale": [1, 1]}}


@pytest.fixture
def queue(many, tmp_path, monkeypatch):
    """Makes queues whose trainings are a small script, by the value of their axis.

    "good" and "unmeasured" end at once, "late" once "slow" has started, and "bad" fails. When they are told to stop,
    "slow" ends as `srzoo train` does, "done" has just finished, "full" fails, and "deaf" goes on.
    """

    monkeypatch.setattr(many, "_TRAIN", [sys.executable, "-c", SCRIPT])
    monkeypatch.setattr(many, "_POLL", 0.05)

    def make(*kinds, **base):
        return many.Queue(
            many.plan({"base": BASE | base, "axes": {"kind": dict.fromkeys(kinds)}}).runs, tmp_path / "out"
        )

    return make


def test_finished_runs_have_rows_and_failed_ones_none(queue, capsys):
    first = queue("good", "bad", "unmeasured")
    assert first.work(".", 3, 60, "cpu") == 2
    with first.csv.open() as file:
        (row,) = csv.DictReader(file)
    assert [row[key] for key in ("run", "kind", "seed", "headline", "last", "best", "training_seconds", "jobs")] == [
        "good-0",
        "good",
        "0",
        "mIoU",
        "0.4",
        "0.5",
        "9",
        "3",
    ]
    said = capsys.readouterr().out
    assert "bad-0: failed: srzoo: no folder /nowhere" in said and "unmeasured-0: failed" in said
    assert [run.name for run in queue("good", "bad").missing()] == ["bad-0"]


def test_the_best_figure_is_of_those_that_are_numbers(many, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("step,epoch,loss,mIoU,lr,seconds\n1,1,2,nan,0,3\n2,2,1,0.5,0,3\n3,3,1,0.4,0,3\n")
    assert many.figures(log) == ("mIoU", 0.4, 0.5, 9.0)


def test_the_limit_ends_what_runs(queue, capsys):
    assert queue("slow", "good").work(".", 1, 1.5, "cpu") == 0
    assert "slow-0: stopped" in capsys.readouterr().out
    assert [run.name for run in queue("slow", "good").missing()] == ["slow-0", "good-0"]


@pytest.fixture
def signals():
    """Handlers of the tests' own: pytest may have been started with signals ignored, as in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted(queue, number=signal.SIGTERM):
    """Run a queue, and send this process a signal once all of its runs have started. Returns how many failed."""
    logs = [queue.out / f"{run.name}.txt" for run in queue.runs]

    def send():
        while not is_over.is_set() and not all(log.exists() and "started" in log.read_text() for log in logs):
            time.sleep(0.02)
        if not is_over.is_set():
            os.kill(os.getpid(), number)

    is_over = threading.Event()
    sender = threading.Thread(target=send)
    sender.start()
    try:
        return queue.work(".", len(logs), 30, "cpu")
    finally:
        is_over.set()
        sender.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs_as_the_limit_does(queue, signals, number, capsys):
    slow = queue("slow")
    assert interrupted(slow, number) == 0 and slow.stopped == number
    assert "slow-0: stopped" in capsys.readouterr().out
    assert signal.getsignal(number) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so(queue, signals, many, monkeypatch):
    """As SIGHUP is by nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    good, start = queue("good"), many.Queue._start

    def hung_up(*arguments):
        os.kill(os.getpid(), signal.SIGHUP)
        return start(*arguments)

    monkeypatch.setattr(many.Queue, "_start", hung_up)
    assert good.work(".", 1, 30, "cpu") == 0 and good.stopped is None and not good.missing()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_runs_that_end_otherwise_when_they_are_told_to_stop(queue, signals, capsys):
    every = queue("slow", "done", "full")
    assert interrupted(every) == 1
    said = capsys.readouterr().out
    assert all(text in said for text in ("slow-0: stopped", "done-0: mIoU", "full-0: failed"))
    assert [run.name for run in every.missing()] == ["slow-0", "full-0"]


def test_a_run_that_does_not_stop_is_killed(queue, signals, many, monkeypatch, capsys):
    monkeypatch.setattr(many, "_GRACE", 0.1)
    assert interrupted(queue("deaf")) == 0
    assert "deaf-0: killed" in capsys.readouterr().out


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_row_that_cannot_be_written_ends_what_runs(queue, many, monkeypatch):
    monkeypatch.setattr(many, "write_csv", full_disk)
    slow = queue("late", "slow")
    with pytest.raises(OSError, match="No space"):
        slow.work(".", 2, 30, "cpu")
    assert (slow.out / "slow-0.txt").read_text() == "started\nstopped\n"


def test_all_have_ended_when_a_row_of_one_that_stops_cannot_be_written(queue, signals, many, monkeypatch):
    monkeypatch.setattr(many, "write_csv", full_disk)
    both, started = queue("done", "slow"), []
    popen = many.subprocess.Popen
    monkeypatch.setattr(many.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with pytest.raises(OSError, match="No space"):
        interrupted(both)
    assert [process.returncode for process in started] == [0, 143]
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler


def test_one_queue_at_a_time_works_in_a_folder(queue, many, monkeypatch):
    def taken(path, wait):
        raise many.LockedError(f"{path} {wait}")

    monkeypatch.setattr(many, "locked", taken)
    with pytest.raises(ValueError, match="another queue .*out"):
        queue("good").work(".", 1, 60, "cpu")


def test_results_of_another_queue_are_refused(queue, many):
    assert queue("good", lr=0.1).work(".", 1, 60, "cpu") == 0
    with pytest.raises(ValueError, match=r"good-0.*lr=0\.1.*0\.2"):
        queue("good", lr=0.2).work(".", 1, 60, "cpu")
    other = many.plan({"base": BASE, "axes": {"kind": {"good": None}, "head": {"paper": None}}}).runs
    with pytest.raises(ValueError, match="head"):
        many.Queue(other, queue("good").out).work(".", 1, 60, "cpu")


@pytest.mark.parametrize("text", ["", "lr: [", "- 1"])
def test_a_recipe_that_was_lost_is_told(queue, text):
    good = queue("good")
    assert good.work(".", 1, 60, "cpu") == 0
    (good.out / "good-0.yaml").write_text(text)
    with pytest.raises(ValueError, match="good-0 was trained with a recipe that"):
        good.work(".", 1, 60, "cpu")


def test_a_key_without_a_value_is_not_one_that_is_absent(queue):
    assert queue("good", steps=None).work(".", 1, 60, "cpu") == 0
    with pytest.raises(ValueError, match="steps=None, and the queue has no steps"):
        queue("good").work(".", 1, 60, "cpu")


def test_a_recipe_is_written_completely_or_not_at_all(queue, monkeypatch):
    good = queue("good")
    assert good.work(".", 1, 60, "cpu") == 0
    before, write = (good.out / "good-0.yaml").read_text(), Path.write_text

    def cut(path, text, **options):
        write(path, text[:10], **options)
        full_disk()

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(OSError, match="No space"):
        good._write_recipes(good.runs)
    assert (good.out / "good-0.yaml").read_text() == before


@pytest.mark.parametrize(
    "base", [{"semantic": BASE["semantic"] | {"teacher": "no.safetensors"}}, {"start": "no.safetensors"}]
)
def test_weights_that_are_not_there_are_told_before_anything_runs(queue, base):
    with pytest.raises(ValueError, match=r"good-0\.yaml.*no\.safetensors"):
        queue("good", **base).work(".", 1, 60, "cpu")
    assert not (queue("good").out / "good-0").exists()


def test_a_wrong_recipe_or_folder_is_told_before_anything_runs(queue):
    with pytest.raises(ValueError, match=r"good-0\.yaml.*epochz"):
        queue("good", "slow", epochz=3).work(".", 2, 60, "cpu")
    with pytest.raises(ValueError, match="nowhere"):
        queue("good").work("nowhere", 2, 60, "cpu")
    assert not (queue("good").out / "runs.csv").exists() and not (queue("good").out / "slow-0").exists()


def test_the_trainings_of_a_queue_for_a_cpu_see_no_gpu(many, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(many.subprocess, "Popen", lambda _, **options: seen.append(options["env"]))
    queue = many.Queue(many.plan({"base": {}, "axes": {"kind": {"good": None}}}).runs, tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for device in ("cpu", "cuda"):
        queue._start(queue.runs[0], "root", device, 2, [])
    assert [each["CUDA_VISIBLE_DEVICES"] for each in seen] == ["", "0"]
    assert {each["OMP_NUM_THREADS"] for each in seen} == {"2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch.yaml", "--table", "context"], "nosuch.yaml"),
        (["camvid_rate"], "--data.root"),
        (["camvid_rate", "--table", "head"], "rate, context"),
        (["camvid_rate", "--data.root", ".", "--jobs", "0"], "--jobs"),
        (["camvid_rate", "--data.root", ".", "--limit", "nan"], "--limit"),
        (["camvid_rate", "--data.root", ".", "--limt", "5"], "--limt"),
        (["camvid_rate", "--data.root", ".", "--plot", "x.png"], "--table"),
    ],
)
def test_invalid_arguments_are_one_line(many, monkeypatch, capsys, arguments, said):
    name, *rest = arguments
    path = name if name.endswith(".yaml") else str(many.ROOT / "bench" / "queues" / f"{name}.yaml")
    monkeypatch.setattr(sys, "argv", ["train_many.py", path, *rest])
    with pytest.raises(SystemExit) as error:
        many.told(many.main)
    line = (capsys.readouterr().err.strip().splitlines() or [error.value.code])[-1]
    assert error.value.code and said in line


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
    queue = many.Queue(many.plan({"base": base, "axes": axes}).runs, tmp_path)
    assert queue.work(str(camvid), 2, 500, "cpu", ["--workers", "0"]) == 0
    assert [row["run"] for row in queue.rows()] == ["none-0", "sr-0"]


def test_the_table_and_its_picture_by_the_last_axis(many, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    rows = [
        {"run": f"{rate}-{context}-0", "rate": rate, "context": context, "seed": 0, "headline": "mIoU", "last": value}
        | {"device": "AMD EPYC, 2 cores"}
        for rate, context, value in (("5e-4", "sr", 0.5), ("5e-4", "none", 0.25), ("1e-3", "none", 0.75))
    ]
    many.write_csv(rows, tmp_path / "runs.csv")
    queue = many.ROOT / "bench" / "queues" / "camvid_rate.yaml"
    command = ["train_many.py", str(queue), "--out", str(tmp_path), "--plot", str(tmp_path / "rate.png"), "--table"]
    for more, said in (
        ([], ["5e-4 none: 25.00 over 1 seed", "5e-4 sr: 50.00 over 1 seed", "1e-3 none: 75.00 over 1 seed"]),
        (["rate"], ["none 5e-4: 25.00 over 1 seed", "none 1e-3: 75.00 over 1 seed", "sr 5e-4: 50.00 over 1 seed"]),
    ):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        with pytest.raises(SystemExit, match="0"):
            many.main()
        assert capsys.readouterr().out.splitlines() == said
    assert (tmp_path / "rate.png").stat().st_size
