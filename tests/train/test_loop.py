import csv
import dataclasses

import pytest
import torch
from safetensors.torch import load_file

import srzoo
from srzoo.train import loop
from srzoo.train.recipe import Recipe

RECIPE = Recipe("srnet_lite0_camvid", epochs=3, batch_size=2, crop=64, scale=(0.3, 0.6), lr=2e-3, precision="no")


def run(root, out, recipe=RECIPE, **options):
    return loop.train(recipe, root, out, workers=0, **options)


def test_training_learns_and_writes_a_model_that_loads(small_camvid, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=12)
    run(small_camvid, tmp_path / "run", recipe)
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows]
    assert len(rows) == 12
    assert losses[-1] < 0.85 * losses[0]
    model = srzoo.load_model(tmp_path / "run" / "model.safetensors")
    assert model.config.classes[3] == "road"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.pt",
        "log.csv",
        "model.safetensors",
    ]


def test_a_stopped_run_ends_with_the_same_bits(small_camvid, tmp_path, monkeypatch):
    run(small_camvid, tmp_path / "whole")
    save = loop.save_model

    class Killed(Exception):
        pass

    def stop_after_two(model, path):
        save(model, path)
        if torch.load(path.parent / "checkpoint.pt", weights_only=True)["epoch"] == 2:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "save_model", stop_after_two)
        run(small_camvid, tmp_path / "stopped")
    run(small_camvid, tmp_path / "stopped")
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_checkpoint_of_another_recipe_is_refused(small_camvid, tmp_path):
    run(small_camvid, tmp_path / "run", dataclasses.replace(RECIPE, epochs=1))
    with pytest.raises(ValueError, match=r"made with lr=0.002, the recipe has 0.1; give another output folder"):
        run(small_camvid, tmp_path / "run", dataclasses.replace(RECIPE, epochs=1, lr=0.1))


def test_a_loss_that_blows_up_stops_with_the_facts(small_camvid, tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss (nan|inf) in epoch \d at learning rate"):
        run(small_camvid, tmp_path / "run", dataclasses.replace(RECIPE, lr=1e30, epochs=5))


def test_labels_beyond_the_classes(small_camvid, tmp_path, monkeypatch):
    monkeypatch.setattr("srzoo.data.camvid.VOID", 254)  # so that void's 11 stays
    with pytest.raises(ValueError, match=r"ids \[11\], but the model has 11 classes \(0..10\)"):
        run(small_camvid, tmp_path / "run")


def test_batch_1_with_a_crop_larger_than_the_image(small_camvid, tmp_path):
    run(small_camvid, tmp_path / "run", dataclasses.replace(RECIPE, batch_size=1, epochs=1, crop=96, scale=(0.1, 0.2)))
    assert (tmp_path / "run" / "model.safetensors").is_file()
