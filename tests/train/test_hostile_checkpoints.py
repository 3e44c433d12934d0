"""Checkpoints from a stranger, or of another program: each is loaded, or refused in one line with its name."""

import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from timm.utils import ModelEmaV3

from srzoo.data.opening import open_dataset
from srzoo.recipes.recipe import load_recipe
from srzoo.train.run import Run, read_checkpoint, write_checkpoint
from tests.hostile import assert_one_line, changed


def new_run() -> Run:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return Run(model, ModelEmaV3(model), optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0))


@pytest.fixture
def written(small_camvid, tmp_path):
    """The folder of a checkpoint, what is in it, and what it was written with."""
    recipe, data = load_recipe("srnet_lite0_camvid"), open_dataset(small_camvid, "train")
    state = new_run()
    for _ in range(3):
        state.optimizer.step()
        state.schedule.step()
    state.step, state.history = 3, [{"step": 3, "epoch": 1, "loss": 0.5, "mIoU": None}]
    write_checkpoint(state, recipe, data, tmp_path, {"precision": "no", "content": {"train": torch.zeros(4, 8)}})
    return tmp_path, torch.load(tmp_path / "checkpoint.pt", weights_only=True), recipe, data


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_checkpoint_is_loaded_or_refused(written, data):
    out, content, recipe, split = written
    torch.save(data.draw(changed(content, ("scaler", "miou", "later"))), out / "checkpoint.pt")
    generator = torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = read_checkpoint(out, recipe, split)
    except ValueError as error:
        assert_one_line(error, "checkpoint.pt", "another output folder")
        return
    run = new_run()
    try:
        run.load(state)
    except Exception:  # `_Trainer.load` tells all of them as one line
        return
    finally:
        torch.set_rng_state(generator)
    run.model(torch.ones(1, 2)).sum().backward()
    run.optimizer.step()
    run.schedule.step()
    assert all(value.isfinite().all() for value in run.model.state_dict().values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state["model"].update(weight=state["model"]["weight"].to(torch.int8)),
            "int8 instead of .*float32",
        ),
        (lambda state: state.update(step=4), "schedule is at step 3, the run at 4"),
        (lambda state: state["schedule"].update(last_epoch=10**6), "schedule is at step 1000000, the run at 3"),
        (lambda state: state["optimizer"]["state"].clear(), "no moments after 3 steps"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(written, change, message):
    """Each would load, and train to other weights without a word."""
    out, content, recipe, split = written
    change(content)
    torch.save(content, out / "checkpoint.pt")
    generator = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        run = new_run()
        run.load(read_checkpoint(out, recipe, split))
        run.check_parts()
    torch.set_rng_state(generator)
