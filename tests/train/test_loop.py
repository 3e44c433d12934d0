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
from srzoo.tasks.task import Score, StepContext, get_task
from srzoo.train import loop
from srzoo.train.loop import train
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
    """`KEYS` with changes; names of the semantic block are given without its name."""
    block = {field.name for field in dataclasses.fields(SemanticOptions)}
    changes = {f"semantic.{key}" if key in block else key: value for key, value in changes.items()}
    return Recipe.from_dict({**KEYS, **changes})


RECIPE = recipe_of()


def run(root, out, recipe=RECIPE, **options):
    splits = (open_dataset(root, split) for split in ("train", "val"))
    return train(recipe, *splits, out, **{"workers": 0, **options})


def same_weights(*folders: Path) -> bool:
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    return all(torch.equal(first[key], second[key]) for key in first)


def test_training_learns_and_writes_a_model_that_loads(small_camvid, tmp_path):
    recipe = recipe_of(epochs=30, lr=5e-3, scale=(0.3, 0.3), evaluate_every=15)
    run(small_camvid, tmp_path / "run", recipe)
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows]
    assert len(rows) == 30
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert [bool(row["mIoU"]) for row in rows] == [epoch in (15, 30) for epoch in range(1, 31)]
    assert all(0 <= float(row["data_wait"]) <= 1 for row in rows)
    assert srzoo.load_model(tmp_path / "run" / "model.safetensors").num_classes == 11
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best.safetensors", "checkpoint.pt", "log.csv", "model.safetensors", "recipe.yaml", "tensorboard"]


@pytest.mark.parametrize("stopped_at", [1, 2, 5])
def test_a_run_stopped_at_any_step_ends_with_the_same_bits(small_camvid, tmp_path, monkeypatch, stopped_at):
    """Two images and a batch of 1: an epoch has two steps, and a checkpoint follows each step."""
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


def untimed_rows(path: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "data_wait")} for row in csv.DictReader(path.open())]


@pytest.mark.slow
def test_two_processes_share_the_batch_and_agree(small_camvid, tmp_path):
    """Each takes one image of a batch of two; the first loss is the mean of what one process would see."""
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
    assert done.stdout.count("epoch 3 of 3") == 1  # one process speaks
    assert srzoo.load_model(tmp_path / "both" / "model.safetensors")
    run(small_camvid, tmp_path / "one", dataclasses.replace(recipe, accumulate=2))
    both, one = (list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("both", "one"))
    assert float(both[0]["loss"]) == pytest.approx(float(one[0]["loss"]), rel=1e-4)


@pytest.mark.slow
def test_kill_minus_9(small_camvid, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: srnet_lite0_camvid\nepochs: 40\nbatch_size: 2\nlr: 2e-3\nprecision: 'no'\n"
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
        size = 0
        for _ in range(3):  # three checkpoints later
            while (now := _modified(tmp_path / "killed" / "checkpoint.pt")) == size and process.poll() is None:
                time.sleep(0.05)
            size = now
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start("killed").wait(300) == 0
    assert same_weights(tmp_path / "whole", tmp_path / "killed")


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_finished_run_is_left_as_it_is(small_camvid, tmp_path):
    recipe = recipe_of(epochs=1)
    first = run(small_camvid, tmp_path / "run", recipe)
    content = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert run(small_camvid, tmp_path / "run", recipe) == first
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == content


def test_a_checkpoint_of_another_recipe_is_refused(small_camvid, tmp_path):
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1))
    with pytest.raises(ValueError, match=r"lr=0.002.* 0.1"):
        run(small_camvid, tmp_path / "run", recipe_of(epochs=1, lr=0.1))


def test_a_damaged_checkpoint_is_named(small_camvid, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=r"checkpoint.pt is no checkpoint of a run; give another output folder"):
        run(small_camvid, tmp_path)


def test_a_loss_that_blows_up_stops_with_the_facts(small_camvid, tmp_path):
    recipe = recipe_of(lr=1e30, epochs=5, warmup_epochs=0)
    with pytest.raises(FloatingPointError, match=r"loss (nan|inf) in step 2 of 5, on \w+.png, \w+.png, at learning"):
        run(small_camvid, tmp_path / "run", recipe, checkpoint_seconds=1e9)


def test_weights_that_are_not_finite_are_never_kept(small_camvid, tmp_path, monkeypatch):
    """The update of the second of two epochs, each of one step, breaks them."""
    update, updates = torch.optim.AdamW.step, []

    def broken_at_last(self, *arguments, **options):
        updates.append(update(self, *arguments, **options))
        if len(updates) == 2:
            self.param_groups[0]["params"][0].data[0] = float("nan")

    monkeypatch.setattr(torch.optim.AdamW, "step", broken_at_last)
    with pytest.raises(FloatingPointError, match=r"is not finite after step 2, .*checkpoint.pt is from before it; try"):
        run(small_camvid, tmp_path / "run", recipe_of(epochs=2, evaluate_every=1, ema_decay=0))
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 1
    kept = srzoo.load_model(tmp_path / "run" / "model.safetensors").state_dict()
    assert all(torch.equal(value, state["model"][name]) for name, value in kept.items())


def test_the_model_of_highest_miou_is_kept_too(small_camvid, tmp_path, monkeypatch):
    measured = iter([0.2, 0.4, 0.3])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: Score("mIoU", {"mIoU": next(measured)}))
    states = []
    save = loop.save_model
    monkeypatch.setattr(loop, "save_model", lambda model, path: (states.append(path.name), save(model, path)))
    run(small_camvid, tmp_path / "run", recipe_of(epochs=3, evaluate_every=1))
    assert states == ["model.safetensors", "best.safetensors"] * 2 + ["model.safetensors"]


def test_a_checkpoint_of_other_data_is_refused(small_camvid, tmp_path):
    run(small_camvid, tmp_path / "run")
    for folder in ("train", "trainannot"):
        (small_camvid / folder / "street.png").rename(small_camvid / folder / "other.png")
    with pytest.raises(ValueError, match="made with other data, its images' names differ; give another output folder"):
        run(small_camvid, tmp_path / "run")


def test_a_checkpoint_of_another_id_map_is_refused(small_camvid, tmp_path):
    """But not one from before checkpoints said so."""
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1))
    swapped = {**{i: i for i in range(2, 11)}, 0: 1, 1: 0, 11: 255}
    splits = [open_dataset(small_camvid, split, id_map=swapped) for split in ("train", "val")]
    with pytest.raises(ValueError, match="other data, the ids of its masks"):
        train(recipe_of(epochs=1), *splits, tmp_path / "run", 0)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    del state["data"]["id_map"]
    torch.save(state, checkpoint)
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1))


def test_a_model_that_overflows_on_val_stops_with_the_facts(small_camvid, tmp_path, monkeypatch):
    def overflow(*_, **__):
        raise loop.NonFiniteError("x must be finite")

    monkeypatch.setattr(loop, "evaluate", overflow)
    message = r"the model overflows on val after step 1, at learning rate .*; try a lower rate"
    with pytest.raises(FloatingPointError, match=message):
        run(small_camvid, tmp_path / "run", recipe_of(epochs=1))


def test_a_worker_s_error_is_told_as_it_was(small_camvid, tmp_path):
    broken = small_camvid / "train" / "street.png"
    broken.write_bytes(broken.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=rf"^{re.escape(str(broken))}: cannot be read"):
        run(small_camvid, tmp_path / "run", workers=1)


def test_the_average_is_not_needed_to_evaluate_in_full_precision(small_camvid, tmp_path, monkeypatch):
    dtypes = []

    def note(model, data, **_):
        with torch.inference_mode():
            dtypes.append(model.eval()(torch.zeros(1, 3, 64, 64)).dtype)
        return Score("mIoU", {"mIoU": 0.5})

    monkeypatch.setattr(loop, "evaluate", note)
    run(small_camvid, tmp_path / "run", recipe_of(epochs=1, ema_decay=0, precision="bf16"))
    assert dtypes == [torch.float32]


def test_labels_beyond_the_classes(small_camvid, tmp_path):
    mask = small_camvid / "trainannot" / "street.png"
    Image.fromarray(np.full((360, 480), 12, np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r"street.png: id 12 is not in the id map"):
        run(small_camvid, tmp_path / "run")


def test_classes_that_contradict_the_recipe(small_camvid, tmp_path):
    options = {**OPTIONS, "num_classes": 4}
    with pytest.raises(ValueError, match="the recipe has num_classes=4, the data 11 classes"):
        run(small_camvid, tmp_path, recipe_of(model_options=options))
    with pytest.raises(ValueError, match="the recipe has 2 class_weights, the model 11 classes"):
        run(small_camvid, tmp_path, recipe_of(class_weights=(1, 2)))


def test_the_data_s_classes_and_the_recipe_s_size_go_into_the_model(small_camvid, tmp_path):
    options = {key: value for key, value in OPTIONS.items() if key != "num_classes"}
    run(small_camvid, tmp_path, recipe_of(steps=1, epochs=None, short_side=96, model_options=options))
    config = srzoo.load_model(tmp_path / "model.safetensors").config
    assert config.classes[3] == "road"
    assert config.transform.short_side == 96


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_trained_a_published_model_starts_by_its_recipe_alone(name):
    recipe = load_recipe(name)
    model = starting_model(recipe, None, is_new=True)
    assert model.config.name == name
    plain = srzoo.create_model(name).backbone.state_dict()
    moved = [not torch.equal(value, plain[key]) for key, value in model.backbone.state_dict().items()]
    running = [key for key in plain if key.endswith("running_mean") and model.backbone.state_dict()[key].any()]
    assert any(moved) and bool(running) == (recipe.start == "imagenet")


def test_a_class_that_never_appears(write_pairs, tmp_path):
    """Of four classes the masks hold two; with no name for any."""
    root = write_pairs([0] * 20 + [2] * 21, [2] * 20 + [0] * 21)
    (root / "train.txt").write_text("f0")
    (root / "val.txt").write_text("f1")
    options = {**OPTIONS, "num_classes": 4}
    splits = [open_dataset(root, split, num_classes=4) for split in ("train", "val")]
    recipe = recipe_of(steps=2, epochs=None, model_options=options)
    assert 0 <= train(recipe, *splits, tmp_path / "run", workers=0) <= 1
    assert srzoo.load_model(tmp_path / "run" / "model.safetensors").config.classes[3] == "class 3"


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
def test_choices_of_a_recipe(small_camvid, tmp_path, options):
    recipe = recipe_of(**{"epochs": 1, **options})
    assert 0 <= run(small_camvid, tmp_path, recipe) <= 1
    assert srzoo.load_model(tmp_path / "model.safetensors")


def test_a_batch_in_parts_has_the_loss_of_the_whole(small_camvid, tmp_path):
    """Roughly, as BatchNorm's statistics and the shares of the classes are each part's own."""
    losses = []
    for accumulate in (1, 2):
        options = {**OPTIONS, "dropout": 0}
        recipe = recipe_of(steps=1, epochs=None, accumulate=accumulate, model_options=options)
        out = tmp_path / str(accumulate)
        run(small_camvid, out, recipe)
        losses.append(float(next(csv.DictReader((out / "log.csv").open()))["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=0.15)


def test_hard_pixels_are_counted_over_the_whole_step(small_camvid):
    """Two processes that take their images in two parts each keep a quarter at least."""
    model = srzoo.create_model("srnet", **OPTIONS)
    recipe = recipe_of(ohem=(0.7, 100))
    context = StepContext(torch.device("cpu"), parts=4, autocast=nullcontext)
    objective = get_task("semantic").objective(model, open_dataset(small_camvid, "train"), recipe.options, context)
    assert objective.loss.ohem == (0.7, 25)


def test_half_precision_needs_a_gpu(small_camvid, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="precision='fp16' needs a GPU; use 'auto'"):
        run(small_camvid, tmp_path, recipe_of(precision="fp16"))
