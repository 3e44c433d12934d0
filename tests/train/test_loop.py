import csv
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.recipes.recipe import Recipe, load_recipe
from srzoo.tasks.semantic.options import SemanticOptions
from srzoo.tasks.semantic.view import View
from srzoo.tasks.task import Score, StepContext, get_task
from srzoo.train import loop
from srzoo.train.loop import train
from srzoo.train.sampler import StepBatches
from srzoo.train.start import starting_model
from srzoo.zoo.published import PUBLISHED

OPTIONS = {"backbone": "test_efficientnet", "num_classes": 11, "channels": 32, "output_stride": 16}
KEYS = {
    "model": "srnet",
    "start": "random",
    "batch_size": 2,
    "lr": 2e-3,
    "epochs": 3,
    "precision": "no",
    "evaluate_every": 2,
    "model_options": OPTIONS,
    "semantic.crop": 64,
    "semantic.scale": (0.3, 0.6),
}


def recipe_of(**changes) -> Recipe:
    """`KEYS` with changes; keys of the semantic block are given without ``semantic.``."""
    block = {field.name for field in dataclasses.fields(SemanticOptions)}
    changes = {f"semantic.{key}" if key in block else key: value for key, value in changes.items()}
    return Recipe.from_dict({**KEYS, **changes})


RECIPE = recipe_of()


def run(root, out, recipe=RECIPE, **options):
    splits = (open_dataset(root, split) for split in ("train", "val"))
    return train(recipe, *splits, out, **{"workers": 0, **options})


def same_weights(*folders: Path) -> bool:
    first, second = (load_file(folder / "last.safetensors") for folder in folders)
    return all(torch.equal(first[key], second[key]) for key in first)


def test_loss_falls_and_the_saved_model_loads(small_camvid, tmp_path):
    recipe = recipe_of(epochs=30, lr=5e-3, scale=(0.3, 0.3), evaluate_every=15)
    run(small_camvid, tmp_path / "run", recipe)
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows]
    assert len(rows) == 30
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert [bool(row["mIoU"]) for row in rows] == [epoch in (15, 30) for epoch in range(1, 31)]
    assert all(0 <= float(row["data_wait"]) <= 1 for row in rows)
    assert srzoo.load_model(tmp_path / "run" / "last.safetensors").num_classes == 11
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best.safetensors", "checkpoint.pt", "last.safetensors", "log.csv", "recipe.yaml", "tensorboard"]


@pytest.mark.parametrize("stopped_at", [1, 2, 5])
def test_resumed_run_ends_with_the_same_bits(small_camvid, tmp_path, monkeypatch, stopped_at):
    """With two images and batch size 1 an epoch has two steps; a checkpoint is written after each step."""
    recipe = recipe_of(batch_size=1)
    run(small_camvid, tmp_path / "whole", recipe)
    save = torch.save

    class Killed(BaseException):
        pass

    def stop(state, path):
        path.write_bytes(b"half")
        if state["step"] == stopped_at + 1:
            raise Killed
        save(state, path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(torch, "save", stop)
        run(small_camvid, tmp_path / "stopped", recipe, checkpoint_seconds=0)
    assert torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["step"] == stopped_at
    run(small_camvid, tmp_path / "stopped", recipe)
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")
    whole, stopped = (untimed_rows(tmp_path / name / "log.csv") for name in ("whole", "stopped"))
    assert whole == stopped


def test_images_of_rare_classes_are_seen_more_often(small_camvid, tmp_path, monkeypatch):
    """Of train's two frames, one has a single class, which the other has, too."""
    Image.fromarray(np.ones((360, 480), np.uint8)).save(small_camvid / "trainannot" / "street.png")
    given = []
    monkeypatch.setattr(loop, "StepBatches", lambda *args: given.append(args[-1]) or StepBatches(*args))
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1, repeat_threshold=0.9))
    assert given[0] == pytest.approx([(0.9 / 0.5) ** 0.5, 1])


def untimed_rows(path: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "data_wait")} for row in csv.DictReader(path.open())]


@pytest.mark.slow
def test_two_processes_share_the_batch(small_camvid, tmp_path):
    """Each takes one image of a batch of two; the mean of their first losses is the loss of one process."""
    recipe = recipe_of(model_options={**OPTIONS, "dropout": 0})
    script = tmp_path / "go.py"
    script.write_text(
        "import sys\nfrom srzoo.data.opening import open_dataset\nfrom srzoo.train.loop import train\n"
        f"from srzoo.recipes.recipe import Recipe\nrecipe = Recipe.from_dict({recipe.to_dict()!r})\n"
        f"splits = [open_dataset({str(small_camvid)!r}, split) for split in ('train', 'val')]\n"
        "train(recipe, *splits, sys.argv[1], workers=0)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "kernels")])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    done = subprocess.run([*launch, script, "both"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 3 of 3") == 1  # only one process prints
    assert srzoo.load_model(tmp_path / "both" / "last.safetensors")
    run(small_camvid, tmp_path / "one", dataclasses.replace(recipe, accumulate=2))
    both, one = (list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("both", "one"))
    assert float(both[0]["loss"]) == pytest.approx(float(one[0]["loss"]), rel=1e-4)


@pytest.mark.slow
def test_run_killed_three_times_ends_with_the_same_bits(small_camvid, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: srnet_lite0_camvid\nepochs: 8\nbatch_size: 2\nlr: 2e-3\nprecision: 'no'\nevaluate_every: 2\n"
        "semantic: {crop: 64, scale: [0.3, 0.6]}\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "kernels")])}

    def start(name):
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "srzoo",
                "train",
                f"--recipe={recipe}",
                f"--data.root={small_camvid}",
                "--out",
                name,
            ],
            env=environment,
            cwd=tmp_path,
        )

    assert start("whole").wait(300) == 0
    for _ in range(3):
        process = start("killed")
        size = _modified(tmp_path / "killed" / "checkpoint.pt")
        while _modified(tmp_path / "killed" / "checkpoint.pt") == size and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start("killed").wait(300) == 0
    assert same_weights(tmp_path / "whole", tmp_path / "killed")


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_finished_run_is_not_changed(small_camvid, tmp_path):
    recipe = recipe_of(epochs=1)
    first = run(small_camvid, tmp_path / "run", recipe)
    content = (tmp_path / "run" / "last.safetensors").read_bytes()
    assert run(small_camvid, tmp_path / "run", recipe) == first
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == content


def test_checkpoint_of_another_recipe_is_refused(small_camvid, tmp_path):
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1))
    with pytest.raises(ValueError, match=r"weight_decay=0.01.* 0.1"):
        run(small_camvid, tmp_path / "run", recipe_of(epochs=1, weight_decay=0.1))


def test_damaged_checkpoint_is_refused(small_camvid, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*another output folder"):
        run(small_camvid, tmp_path)


def test_non_finite_loss_stops_the_run(small_camvid, tmp_path):
    recipe = recipe_of(lr=1e30, epochs=5, warmup_epochs=0)
    with pytest.raises(FloatingPointError, match=r"(nan|inf) in step 2 of 5.* \w+\.png, \w+\.png.* \d\.\d\de\+"):
        run(small_camvid, tmp_path / "run", recipe, checkpoint_seconds=1e9)


def test_non_finite_weights_are_not_saved(small_camvid, tmp_path, monkeypatch):
    """Each of the two epochs has one step, and the update of the second breaks the weights."""
    update, updates = torch.optim.AdamW.step, []

    def broken_at_last(self, *arguments, **options):
        updates.append(update(self, *arguments, **options))
        if len(updates) == 2:
            self.param_groups[0]["params"][0].data[0] = float("nan")

    monkeypatch.setattr(torch.optim.AdamW, "step", broken_at_last)
    with pytest.raises(FloatingPointError, match=r"not finite after step 2.* \d\.\d\de[+-].*checkpoint\.pt"):
        run(small_camvid, tmp_path / "run", recipe_of(epochs=2, evaluate_every=1, ema_decay=0))
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 1
    kept = srzoo.load_model(tmp_path / "run" / "last.safetensors").state_dict()
    assert all(torch.equal(value, state["model"][name]) for name, value in kept.items())


def test_best_model_is_saved_too(small_camvid, tmp_path, monkeypatch):
    measured = iter([0.2, 0.4, 0.3])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: Score("mIoU", {"mIoU": next(measured)}))
    states = []
    save = loop.save_model
    monkeypatch.setattr(loop, "save_model", lambda model, path, **_: (states.append(path.name), save(model, path)))
    run(small_camvid, tmp_path / "run", recipe_of(epochs=3, evaluate_every=1))
    assert states == ["last.safetensors", "best.safetensors"] * 2 + ["last.safetensors"]


def test_checkpoint_of_other_data_is_refused(small_camvid, tmp_path):
    run(small_camvid, tmp_path / "run")
    for folder in ("train", "trainannot"):
        (small_camvid / folder / "street.png").rename(small_camvid / folder / "other.png")
    with pytest.raises(ValueError, match=r"other data.* names.*another output folder"):
        run(small_camvid, tmp_path / "run")


def test_checkpoint_of_another_id_map_is_refused(small_camvid, tmp_path):
    """A checkpoint without an id map, of an older version, is accepted."""
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1))
    swapped = {**{i: i for i in range(2, 11)}, 0: 1, 1: 0, 11: 255}
    splits = [open_dataset(small_camvid, split, id_map=swapped) for split in ("train", "val")]
    with pytest.raises(ValueError, match=r"other data.* ids of"):
        train(recipe_of(epochs=1), *splits, tmp_path / "run", 0)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    del state["data"]["id_map"]
    torch.save(state, checkpoint)
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1))


def test_overflow_on_val_stops_the_run(small_camvid, tmp_path, monkeypatch):
    def overflow(*_, **__):
        raise loop.NonFiniteError("x must be finite")

    monkeypatch.setattr(loop, "evaluate", overflow)
    with pytest.raises(FloatingPointError, match=r" val after step 1.* \d\.\d\de[+-]\d\d"):
        run(small_camvid, tmp_path / "run", recipe_of(epochs=1))


def test_worker_error_is_reraised(small_camvid, tmp_path):
    broken = small_camvid / "train" / "street.png"
    broken.write_bytes(broken.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=rf"^{re.escape(str(broken))}: "):
        run(small_camvid, tmp_path / "run", workers=1)


def test_evaluation_is_in_float32_without_an_average_too(small_camvid, tmp_path, monkeypatch):
    dtypes = []

    def note(model, data, view, **_):
        with torch.inference_mode():
            dtypes.append(model.eval()(torch.zeros(1, 3, 64, 64)).dtype)
        return Score("mIoU", {"mIoU": 0.5})

    monkeypatch.setattr(loop, "evaluate", note)
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1, ema_decay=0, precision="bf16"))
    assert dtypes == [torch.float32]


def test_figures_on_val_are_seen_as_srzoo_eval_sees_them(small_camvid, tmp_path, monkeypatch):
    views = []

    def note(model, data, view, **_):
        views.append(view)
        return Score("mIoU", {"mIoU": 0.5})

    monkeypatch.setattr(loop, "evaluate", note)
    run(small_camvid, tmp_path / "run", recipe_of(steps=1, epochs=None, flip=True, leave_out=["sky"]))
    assert views == [View(leave_out=("sky",))]  # flip is the augmentation's, not an average over mirrored images


def test_id_outside_the_id_map_is_an_error(small_camvid, tmp_path):
    mask = small_camvid / "trainannot" / "street.png"
    Image.fromarray(np.full((360, 480), 12, np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r"street\.png.* 12 "):
        run(small_camvid, tmp_path / "run")


def test_number_of_classes_that_contradicts_the_recipe(small_camvid, tmp_path):
    options = {**OPTIONS, "num_classes": 4}
    with pytest.raises(ValueError, match=r"num_classes=4.* 11 classes"):
        run(small_camvid, tmp_path, recipe_of(model_options=options))
    with pytest.raises(ValueError, match=r"2 class_weights.* 11 classes"):
        run(small_camvid, tmp_path, recipe_of(class_weights=(1, 2)))


def test_saved_model_has_the_classes_of_the_data_and_the_size_of_the_recipe(small_camvid, tmp_path):
    options = {key: value for key, value in OPTIONS.items() if key != "num_classes"}
    run(small_camvid, tmp_path, recipe_of(steps=1, epochs=None, short_side=96, model_options=options))
    config = srzoo.load_model(tmp_path / "last.safetensors").config
    assert config.classes[3] == "road"
    assert config.transform.short_side == 96


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.filterwarnings("ignore:.*heads are the start")
def test_recipe_of_a_published_model_names_its_start(name, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)  # a file of a recipe is in the checkout
    recipe = load_recipe(name)
    model = starting_model(recipe, None, is_new=True)
    assert model.config.name == name
    plain = srzoo.create_model(name).backbone.state_dict()
    moved = [not torch.equal(value, plain[key]) for key, value in model.backbone.state_dict().items()]
    running = [key for key in plain if key.endswith("running_mean") and model.backbone.state_dict()[key].any()]
    assert any(moved) and bool(running) == (recipe.start != "random")


def test_absent_classes(write_pairs, tmp_path):
    """The masks hold two of four classes, which have no names."""
    root = write_pairs([0] * 20 + [2] * 21, [2] * 20 + [0] * 21)
    (root / "train.txt").write_text("f0")
    (root / "val.txt").write_text("f1")
    options = {**OPTIONS, "num_classes": 4}
    splits = [open_dataset(root, split, num_classes=4) for split in ("train", "val")]
    recipe = recipe_of(steps=2, epochs=None, model_options=options)
    assert 0 <= train(recipe, *splits, tmp_path / "run", workers=0) <= 1
    assert srzoo.load_model(tmp_path / "run" / "last.safetensors").config.classes[3] == "class 3"


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 1, "crop": 96, "scale": (0.1, 0.2)},  # an image smaller than the crop
        {"batch_size": 3},  # more than there are images
        {"batch_size": 4, "accumulate": 2},
        {"class_weights": [1] * 11, "jitter": 0, "blur": 1},
        {"optimizer": "sgd", "lr": 1e-2, "ema_decay": 0, "aux": 0, "ohem": (0.7, 100), "class_weights": False},
        {"epochs": None, "steps": 2, "precision": "bf16", "dice": 0.5, "label_smoothing": 0.1},
        {"model_options": {**OPTIONS, "context": "none", "dropout": 0}},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_of_a_recipe(small_camvid, tmp_path, options):
    recipe = recipe_of(**{"epochs": 1, **options})
    assert 0 <= run(small_camvid, tmp_path, recipe) <= 1
    assert srzoo.load_model(tmp_path / "last.safetensors")


def test_accumulated_batch_has_the_same_loss(small_camvid, tmp_path):
    """Roughly the same, since each part has its own BatchNorm statistics and its own shares of the classes."""
    losses = []
    for accumulate in (1, 2):
        options = {**OPTIONS, "dropout": 0}
        recipe = recipe_of(steps=1, epochs=None, accumulate=accumulate, model_options=options)
        out = tmp_path / str(accumulate)
        run(small_camvid, out, recipe)
        losses.append(float(next(csv.DictReader((out / "log.csv").open()))["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=0.15)


def test_ohem_counts_pixels_over_the_whole_step(small_camvid):
    """Two processes with two parts each: a part keeps at least a quarter of the pixels."""
    model = srzoo.create_model("srnet", **OPTIONS)
    recipe = recipe_of(ohem=(0.7, 100))
    context = StepContext(torch.device("cpu"), parts=4, autocast=nullcontext)
    objective = get_task("semantic").objective(model, open_dataset(small_camvid, "train"), recipe.options, context)
    assert objective.loss.ohem == (0.7, 25)


def test_fp16_needs_a_gpu(small_camvid, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"precision='fp16'.* GPU.*'auto'"):
        run(small_camvid, tmp_path, recipe_of(precision="fp16"))
