"""What a run does when its files, its processes or its machine fail. Each fault is told as what it is."""

import os
import random
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.files import locked
from srzoo.recipes.recipe import Recipe
from srzoo.train import loop
from srzoo.train.failures import explained, not_written
from srzoo.train.log import write_tensorboard
from srzoo.train.loop import train
from srzoo.train.stopping import Stop, Stopped
from srzoo.zoo.weights import read_run_recipe

KEYS = {
    "model": "srnet",
    "start": "random",
    "batch_size": 1,
    "lr": 2e-3,
    "steps": 4,
    "precision": "no",
    "evaluate_every": 1,
    "model_options": {"backbone": "test_efficientnet", "num_classes": 11, "channels": 32, "output_stride": 16},
    "semantic.crop": 64,
    "semantic.scale": (0.3, 0.6),
}
RECIPE = Recipe.from_dict(KEYS)


@pytest.fixture
def data(small_camvid) -> Path:
    """The frames at a tenth of their size, so that a step takes no time."""
    for path in small_camvid.rglob("*.png"):
        image = Image.open(path)
        image.resize((64, 48), Image.Resampling.NEAREST).save(path)
    return small_camvid


def run(root, out, recipe=RECIPE, **options):
    splits = (open_dataset(root, split) for split in ("train", "val"))
    return train(recipe, *splits, out, **{"workers": 0, **options})


def weights(out: Path) -> dict:
    return load_file(out / "last.safetensors")


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture
def half_done(data, tmp_path, monkeypatch) -> Path:
    """The folder of a run that has done two of four steps."""
    step = loop._Trainer._step

    def until_the_third(self, batches):
        if self.run.step == 2:
            raise Stopped(signal.SIGINT)
        return step(self, batches)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop._Trainer, "_step", until_the_third)
        run(data, tmp_path / "run")
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 2
    return tmp_path / "run"


def test_a_flipped_bit_is_told_or_does_not_matter(data, tmp_path, half_done):
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    choose = random.Random(seed)
    path = half_done / "checkpoint.pt"
    content = path.read_bytes()
    recipe, train_set = RECIPE, open_dataset(data, "train")
    good = loop.read_checkpoint(half_done, recipe, train_set)
    for _ in range(40):
        damaged = bytearray(content)
        damaged[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        try:
            state = loop.read_checkpoint(half_done, recipe, train_set)
        except ValueError as error:
            assert re.search(r"checkpoint\.pt .*damaged.*another output folder.*last\.safetensors", str(error))
        else:  # the bit is in a part of the archive that nothing reads
            assert same(state["model"], good["model"]) and state["step"] == good["step"]


def _changed(state: dict, keys: str, value) -> dict:
    """The state with another value at a place such as "history.0.step"; without it for `None`."""
    *path, last = [int(key) if key.isdigit() else key for key in keys.split(".")]
    part = state
    for key in path:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return state


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("step", None, "lacks the key 'step'"),
        ("interval", None, "lacks the key 'interval'"),
        ("history", None, "lacks the key 'history'"),
        ("rng", None, "lacks the key 'rng'"),
        ("model", None, "lacks model"),
        ("average", None, "lacks average"),
        ("optimizer", None, "lacks optimizer"),
        ("schedule", None, "lacks schedule"),
        ("data", 3, "data must be a mapping.* 3"),
        ("step", 10**30, r"step must be a whole number.* 10{30}"),
        ("step", 7, "step 7 of 4"),
        ("history.0.step", "x", r"history\[0\]\.step must be a whole number.* 'x'"),
        ("history", [], "rows"),
        ("recipe.lr", "abc", "lr must be a number.*'abc'"),
        ("recipe.later", 1, "unknown key 'later'"),
        ("rng", torch.zeros(3), "rng must be the state of a random generator"),
        ("rng", torch.zeros(3, dtype=torch.uint8), "RNG state"),
        ("schedule.last_epoch", "x", "schedule.last_epoch must be a finite number"),
        ("optimizer.param_groups.0.lr", "x", r"optimizer\.param_groups\[0\]\.lr must be a number from 0 to .* 'x'"),
        ("optimizer.param_groups", [], r"optimizer\.param_groups must be a list of"),
        (
            "optimizer.state.0",
            {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2, 2)},
            r"exp_avg has the shape \(2, 2\)",
        ),
        ("model", {"a": torch.zeros(1)}, "model lacks "),
        ("model", [1], "model is no state dict"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_one_line(data, half_done, place, value, message):
    path = half_done / "checkpoint.pt"
    state = _changed(torch.load(path, weights_only=True), place, value)
    if place == "history" and value == []:
        state["step"] = 4
    torch.save(state, path)
    with pytest.raises(ValueError, match=rf"checkpoint\.pt is not a checkpoint of a run .*{message}") as raised:
        run(data, half_done)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [torch.zeros(3), [1], {"recipe": 1}, "text", {1: 2}])
def test_a_file_of_something_else_is_no_checkpoint(data, tmp_path, content):
    (tmp_path / "run").mkdir()
    torch.save(content, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not a checkpoint of a run"):
        run(data, tmp_path / "run")


def test_nan_in_a_checkpoint_is_named(data, half_done):
    state = torch.load(half_done / "checkpoint.pt", weights_only=True)
    state["model"]["classifier.weight"][0] = float("nan")
    torch.save(state, half_done / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"model\.classifier\.weight has values that are not finite"):
        run(data, half_done)


def test_files_of_a_finished_run_are_written_anew(data, tmp_path, capsys):
    out = tmp_path / "run"
    figure = run(data, out)
    before = {name: (out / name).read_bytes() for name in ("last.safetensors", "log.csv", "recipe.yaml")}
    for name in before:
        (out / name).unlink()
    assert run(data, out) == figure
    assert "last.safetensors, log.csv were gone" in capsys.readouterr().out
    assert {name: (out / name).read_bytes() for name in before} == before
    (out / "best.safetensors").unlink()
    history = torch.load(out / "checkpoint.pt", weights_only=True)["history"]
    if history[-1]["mIoU"] < max(row["mIoU"] for row in history):
        with pytest.warns(UserWarning, match=r"best\.safetensors is gone"):
            run(data, out)
    else:
        run(data, out)
        assert (out / "best.safetensors").exists()


def test_an_edited_recipe_is_not_believed(data, tmp_path):
    out = tmp_path / "run"
    run(data, out)
    path = out / "recipe.yaml"
    written = path.read_text()
    path.write_text(written.replace("lr: 0.002", "lr: 0.5"))
    assert Recipe.from_dict(KEYS).to_yaml() == read_run_recipe(out / "last.safetensors") == written
    with pytest.warns(UserWarning, match=r"recipe\.yaml was edited"):
        run(data, out)
    assert path.read_text() == written


def test_a_folder_with_files_of_another_origin_is_left_alone(data, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.yaml").write_text("# my notes\nbase: camvid\nlr: 0.1\n")
    with pytest.raises(ValueError, match=r"recipe\.yaml is not of this run"):
        run(data, out)
    (out / "recipe.yaml").unlink()
    srzoo.save_model(srzoo.create_model("srnet", **KEYS["model_options"]), out / "last.safetensors")
    content = (out / "last.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"last\.safetensors is not of this run"):
        run(data, out)
    assert (out / "last.safetensors").read_bytes() == content
    assert [path.name for path in out.iterdir()] == ["last.safetensors"]


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(data, tmp_path):
    run(data, tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").unlink()
    before = weights(tmp_path / "run")
    run(data, tmp_path / "run")
    assert same(weights(tmp_path / "run"), before)


def test_two_processes_do_not_share_a_folder(data, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    child = os.fork()
    if not child:
        with locked(out / ".srzoo-lock"):
            time.sleep(60)
    try:
        while not (out / ".srzoo-lock").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        with pytest.raises(OSError, match=f"another process trains in {out}"):
            run(data, out)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    run(data, out)
    assert not (out / ".srzoo-lock").exists()


def test_changed_masks_are_named(data, tmp_path, half_done):
    mask, copied = data / "trainannot" / "street.png", tmp_path / "copied"
    shutil.copytree(data, copied)  # other paths and times, but the same content
    shutil.copytree(half_done, tmp_path / "again")
    run(copied, tmp_path / "again")
    ids = np.array(Image.open(mask))
    ids[0, 0] = (ids[0, 0] + 1) % 11
    Image.fromarray(ids).save(mask)
    with pytest.raises(ValueError, match=r"other data.* changed since: street\.png;.*--start .*last\.safetensors"):
        run(data, half_done)


def test_changed_masks_of_val_are_a_warning(data, half_done):
    shutil.copy(data / "trainannot" / "street.png", data / "valannot" / "cyclist.png")
    with pytest.warns(UserWarning, match=r"of val, .*changed.*: cyclist\.png;.*srzoo eval"):
        run(data, half_done)


def test_another_precision_is_told(data, half_done):
    state = torch.load(half_done / "checkpoint.pt", weights_only=True)
    torch.save({**state, "precision": "bf16"}, half_done / "checkpoint.pt")
    with pytest.warns(UserWarning, match="until now .*'bf16'.*'no'"):
        run(data, half_done)


def test_a_checkpoint_of_version_0_1_resumes(data, tmp_path, half_done):
    """It has neither fingerprints nor a precision."""
    run(data, tmp_path / "whole")
    state = torch.load(half_done / "checkpoint.pt", weights_only=True)
    torch.save({key: value for key, value in state.items() if key not in ("content", "precision")}, tmp_path / "old")
    os.replace(tmp_path / "old", half_done / "checkpoint.pt")
    run(data, half_done)
    assert same(weights(half_done), weights(tmp_path / "whole"))


@pytest.fixture
def heeded():
    """Give a signal its usual handler: nohup ignores SIGHUP, and processes of pytest-xdist ignore SIGINT."""
    former = {}

    def heed(number):
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        former[number] = signal.signal(number, usual)

    yield heed
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("where", ["_step", "_figure"])
def test_a_signal_writes_a_checkpoint_and_ends_the_run(data, tmp_path, monkeypatch, heeded, number, where):
    heeded(number)
    run(data, tmp_path / "whole")
    original, before = getattr(loop._Trainer, where), signal.getsignal(number)

    def signalled(self, *arguments):
        if self.run.step >= 2:
            os.kill(os.getpid(), number)
        return original(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Stopped) as raised:
        patch.setattr(loop._Trainer, where, signalled)
        run(data, tmp_path / "run", checkpoint_seconds=1e9)
    assert raised.value.signal == number
    assert signal.getsignal(number) is before
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] >= 2
    run(data, tmp_path / "run")
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_process_of_a_run_writes_a_checkpoint(data, tmp_path, monkeypatch, heeded, number):
    """As a terminal sends it, and torchrun, in the middle of a step that still needs images."""
    heeded(number)
    recipe = Recipe.from_dict({**KEYS, "batch_size": 2, "accumulate": 2, "evaluate_every": 4})
    run(data, tmp_path / "whole", recipe)
    step = loop._Trainer._step

    def signalled(self, batches):
        if self.run.step == 1:
            os.kill(os.getpid(), number)
            for worker in batches._workers:
                os.kill(worker.pid, number)
            time.sleep(0.5)
            assert all(worker.is_alive() for worker in batches._workers)
        return step(self, batches)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop._Trainer, "_step", signalled)
        run(data, tmp_path / "run", recipe, workers=1, checkpoint_seconds=1e9)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] >= 1
    run(data, tmp_path / "run", recipe, workers=1)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_at_once_and_a_third_does_nothing():
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        assert stop.signal == signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_waits_for_a_stopped_one_can_be_ended(run_python):
    """A child that never writes to a pipe is the other process, and the main thread runs no handler of Python's."""
    code = (
        "import ctypes, os, signal, threading\n"
        "from srzoo.train import stopping\n"
        "stopping._PATIENCE_S = 0.5\n"
        "libc, (end, other) = ctypes.CDLL(None), os.pipe()\n"
        "with stopping.Stop():\n"
        "    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "    while True: libc.read(end, ctypes.create_string_buffer(1), 1)\n"
    )
    result = run_python("-c", code, env={"WORLD_SIZE": "2", "RANK": "1"}, timeout=60)
    assert result.returncode == 128 + signal.SIGTERM, result.stderr
    assert re.search("SIGTERM; another process .* not answered for 0 s", result.stderr)


def test_a_stopped_process_has_all_time_for_its_checkpoint(run_python):
    code = (
        "import os, signal, time\n"
        "from srzoo.train import stopping\n"
        "stopping._PATIENCE_S = 0.2\n"
        "with stopping.Stop() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    try: stop.check()\n"
        "    except stopping.Stopped: time.sleep(1)\n"
        "    print('written')\n"
    )
    result = run_python("-c", code, env={"WORLD_SIZE": "2", "RANK": "0"}, timeout=60)
    assert (result.returncode, result.stdout) == (0, "written\n"), result.stderr


def test_a_killed_worker_is_told_wherever_it_strikes(tmp_path):
    text = "DataLoader worker (pid 7) is killed by signal: Killed. "
    message = r"images was killed \(signal Killed\).* workers than 3.*starts again"
    with pytest.raises(RuntimeError, match=message), explained(tmp_path, 3):
        try:
            raise RuntimeError(text)
        except RuntimeError as error:
            raise ValueError(f"timm's 'x' has no features ({error})") from error
    with pytest.raises(RuntimeError, match="/dev/shm.* 0 workers"), explained(tmp_path, 3):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")
    with pytest.raises(ValueError, match="^other$"), explained(tmp_path, 3):
        raise ValueError("other")


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_worker_killed_while_it_sends_a_batch(tmp_path, error):
    with pytest.raises(RuntimeError, match="images was ended.* workers than 3"), explained(tmp_path, 3):
        loop._next(Failing(error))


class Failing:
    def __init__(self, error):
        self.error = error

    def __next__(self):
        raise self.error


def test_a_worker_killed_in_a_run(data, tmp_path, monkeypatch):
    step = loop._Trainer._step

    def killing(self, batches):
        if self.run.step == 1:
            os.kill(batches._workers[0].pid, signal.SIGKILL)
            time.sleep(0.5)
        return step(self, batches)

    monkeypatch.setattr(loop._Trainer, "_step", killing)
    with pytest.raises(RuntimeError, match=r"loads images was killed.* workers than 1"):
        run(data, tmp_path / "run", workers=1)


def test_a_stopped_worker_does_not_keep_the_run_from_ending(data, tmp_path, monkeypatch):
    step = loop._Trainer._step

    def stopping(self, batches):
        if self.run.step == 1:
            os.kill(batches._workers[0].pid, signal.SIGSTOP)
            # SIGTERM, since processes of pytest-xdist ignore SIGINT.
            threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return step(self, batches)

    monkeypatch.setattr(loop._Trainer, "_step", stopping)
    began = time.monotonic()
    with pytest.raises(Stopped):
        run(data, tmp_path / "run", Recipe.from_dict({**KEYS, "steps": 100}), workers=1)
    assert time.monotonic() - began < 120
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] >= 1


@pytest.mark.parametrize(
    ("error", "size", "message"),
    [
        (OSError(28, "No space left on device"), 10**18, r"bytes are free \(.*; free more space"),
        (RuntimeError("unexpected pos 704\nmore"), 10**18, r"bytes are free \(unexpected pos 704\); free more space"),
        (RuntimeError("unexpected pos 704"), 1, "quota or a limit of file sizes"),
        (OSError(21, "Is a directory"), 1, r"checkpoint\.pt \(Is a directory\); remove the cause"),
        (OSError("cannot write x (I/O error: File too large (os error 27))"), 1, "a limit of file sizes.* raise it"),
    ],
)
def test_a_failed_write_is_told_as_what_it_is(tmp_path, error, size, message):
    assert re.search(message, str(not_written(tmp_path / "checkpoint.pt", error, size)))
    assert "starts again" in str(not_written(tmp_path / "checkpoint.pt", error, size))
    (tmp_path / "checkpoint.pt").write_bytes(b"x")
    assert "resumes from the last checkpoint" in str(not_written(tmp_path / "checkpoint.pt", error, size))


def test_a_folder_that_is_gone_is_told_once(tmp_path, capfd):
    gone = tmp_path / "gone"
    assert "its folder is gone; the same command starts again" in str(not_written(gone / "x", FileNotFoundError(), 1))
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError):
        write_tensorboard([{"step": 1, "loss": 0.5}], tmp_path / "full")
    assert "Traceback" not in capfd.readouterr().err


def test_weights_that_are_not_finite_are_refused_with_their_name(data, tmp_path):
    run(data, tmp_path / "run")
    config, state = srzoo.zoo.weights.read_model_file(tmp_path / "run" / "last.safetensors")
    for value in (float("nan"), float("inf")):
        broken = {key: tensor.clone() for key, tensor in state.items()}
        broken["classifier.weight"][3, 0] = value
        save_file(broken, tmp_path / "n.safetensors", {"srzoo": config.to_json()})
        with pytest.raises(ValueError, match=r"n\.safetensors: classifier\.weight has values that are not finite"):
            srzoo.load_model(tmp_path / "n.safetensors")
    state["classifier.weight"] *= 1e38
    state["classifier.bias"] += 3e38
    save_file(state, tmp_path / "n.safetensors", {"srzoo": config.to_json()})
    model = srzoo.load_model(tmp_path / "n.safetensors")
    with torch.no_grad():
        model.classifier.weight.fill_(3e38)
    with pytest.raises(ValueError, match="model's logits are not finite"):
        srzoo.Segmenter(model)(data / "val" / "cyclist.png")
