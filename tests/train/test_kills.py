"""A run that is killed at any moment of writing its files ends, when it is started again, as if nothing had been."""

import multiprocessing
import os
import random
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from srzoo.data.opening import open_dataset
from srzoo.recipes.recipe import Recipe
from srzoo.train.loop import train

RECIPE = Recipe.from_dict(
    {
        "model": "srnet",
        "start": "random",
        "batch_size": 1,
        "lr": 2e-3,
        "steps": 3,
        "precision": "no",
        "evaluate_every": 1,
        "model_options": {"backbone": "test_efficientnet", "num_classes": 11, "channels": 32, "output_stride": 16},
        "semantic.crop": 64,
        "semantic.scale": (0.3, 0.6),
    }
)
KILLS = 24
# What Python tells its audit hooks of, and what changes files.
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "shutil.rmtree", "fcntl.lockf"}


def in_child(action, *arguments) -> int:
    """Run an action in a child process, and return its status: negative if a signal ended it.

    The children are forked by a server that has imported torch and run nothing: a process that has been through
    autograd cannot be forked, and one that starts from nothing takes seconds.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["srzoo.train.loop"])
    child = server.Process(target=action, args=arguments)
    child.start()
    child.join()
    return child.exitcode


def run(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    train(RECIPE, *(open_dataset(data, split) for split in ("train", "val")), out, workers=0, checkpoint_seconds=0)


def run_until(data: Path, out: Path, number: int, counter: Path | None = None) -> None:
    """Run, and be killed at the event of this number in the folder of the run; or only count the events."""
    events = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal events
        if event in EVENTS and (event == "fcntl.lockf" or str(out) in str(arguments)):
            events += 1
            if events == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    run(data, out)
    if counter is not None:
        counter.write_text(str(events))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_inside_any_write(small_camvid, tmp_path):
    for path in small_camvid.rglob("*.png"):
        Image.open(path).resize((64, 48), Image.Resampling.NEAREST).save(path)
    assert in_child(run_until, small_camvid, tmp_path / "whole", 0, tmp_path / "count") == 0
    count = int((tmp_path / "count").read_text())
    wanted, names = load_file(tmp_path / "whole" / "last.safetensors"), sorted(os.listdir(tmp_path / "whole"))
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}, {count} events")
    for number in sorted(random.Random(seed).sample(range(1, count), min(KILLS, count - 1))):
        out = tmp_path / f"killed at {number}"
        assert in_child(run_until, small_camvid, out, number) == -signal.SIGKILL, number
        assert in_child(run, small_camvid, out) == 0, number
        found = load_file(out / "last.safetensors")
        assert all(torch.equal(found[key], value) for key, value in wanted.items()), number
        assert sorted(os.listdir(out)) == names, number
