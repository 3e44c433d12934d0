"""Training of detectors: the losses of a step, what is frozen, whole runs, and their resumption."""

import csv
import json
import os
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load_file

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.recipes.recipe import Recipe
from srzoo.tasks.instance.augment import Augment, collate
from srzoo.tasks.instance.objective import DetectionObjective
from srzoo.tasks.instance.options import InstanceOptions
from srzoo.tasks.task import StepContext
from srzoo.train.loop import train

CONTEXT = StepContext(torch.device("cpu"), 1, nullcontext)
NETWORKS = {"instance": "mask_rcnn", "panoptic": "panoptic_fpn"}
TINY = {"backbone": "test_efficientnet", "channels": 16, "box_channels": 32, "mask_layers": (16,)}


def recipe_of(task="instance", **changes) -> Recipe:
    keys = {
        "model": NETWORKS[task],
        "start": "random",
        "batch_size": 2,
        "lr": 2e-3,
        "steps": 2,
        "short_side": 96,
        "precision": "no",
        "model_options": TINY,
        f"{task}.crop": 64,
        f"{task}.scale": (0.5, 1.5),
    }
    return Recipe.from_dict({**keys, **changes})


@pytest.fixture
def small_facade(facade, tmp_path):
    """The first four photographs to train on and the first of val, with both kinds of annotations."""
    root = tmp_path / "facade"
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", 4), ("val", 1)):
        os.symlink(facade / split, root / split)
        os.symlink(facade / "annotations" / f"panoptic_{split}", root / "annotations" / f"panoptic_{split}")
        for kind in ("instances", "panoptic"):
            content = json.loads((facade / "annotations" / f"{kind}_{split}.json").read_text())
            content["images"] = content["images"][:count]
            kept = {image["id"] for image in content["images"]}
            content["annotations"] = [each for each in content["annotations"] if each["image_id"] in kept]
            (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))
    return root


def run(root, out, recipe, **options):
    splits = (open_dataset(root, split, task=recipe.task) for split in ("train", "val"))
    return train(recipe, *splits, out, **{"workers": 0, **options})


def batch_of(scenes, count):
    data = open_dataset(scenes, "train", task="instance")
    torch.manual_seed(0)
    return collate([(*Augment(64)(*data[i % len(data)]), i) for i in range(count)])


def losses_of(detector, scenes, count=2, **options):
    options = InstanceOptions(**options)
    model = detector().train()
    objective = DetectionObjective(model, options, CONTEXT)
    torch.manual_seed(0)
    return model, objective(model, batch_of(scenes, count))


def test_number_of_regions(detector, scenes):
    model = detector().train()
    objective = DetectionObjective(model, InstanceOptions(regions=8), CONTEXT)
    counts = []
    model.roi_heads.box_head.register_forward_pre_hook(lambda module, args: counts.append(len(args[0])))
    model.roi_heads.mask_head.register_forward_pre_hook(lambda module, args: counts.append(len(args[0])))
    objective(model, batch_of(scenes, 2))
    assert counts[0] == 16
    assert counts[1] <= 4


def test_weights_of_the_losses(detector, scenes):
    _, plain = losses_of(detector, scenes)
    _, weighted = losses_of(detector, scenes, rpn_weight=2, box_weight=0, mask_weight=0.5)
    factors = {"objectness": 2, "rpn box": 2, "class": 0, "box": 0, "mask": 0.5}
    assert plain.keys() == factors.keys()
    for name, factor in factors.items():
        assert weighted[name].item() == pytest.approx(factor * plain[name].item()), name


@pytest.mark.parametrize(
    ("count", "option", "frozen"),
    [(1, "auto", True), (7, "auto", True), (8, "auto", False), (8, "yes", True), (2, "no", False)],
)
def test_statistics_are_frozen_below_eight_images(detector, scenes, count, option, frozen):
    before = detector().state_dict()
    model, losses = losses_of(detector, scenes, count, frozen_statistics=option)
    assert all(loss.isfinite() for loss in losses.values())
    moved = [n for n, v in model.named_buffers() if "running_mean" in n and not torch.equal(v, before[n])]
    assert model.frozen_statistics == frozen == (not moved)


def test_frozen_stages(detector, scenes):
    model, losses = losses_of(detector, scenes, frozen_stages=1)
    sum(losses.values()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without and all(name.startswith("backbone.body.") for name in without)
    with pytest.raises(ValueError, match=r"frozen_stages=9"):
        losses_of(detector, scenes, frozen_stages=9)


def test_padding_is_the_mean_colour(detector, scenes):
    """As in prediction, where the normalized image is padded with zeros."""
    model = detector()
    objective = DetectionObjective(model, InstanceOptions(), CONTEXT)
    batch, seen = batch_of(scenes, 2), []
    batch[0][0, :, 50:], batch[1][0] = 200, (50, 64)
    objective(lambda x, sizes, targets: (seen.append(x), {})[1], batch)
    assert not seen[0][0, :, 50:].any() and seen[0][0, :, :50].any()


@pytest.mark.parametrize("task", NETWORKS)
def test_run_on_photographs_resumes_with_the_same_bits(small_facade, tmp_path, monkeypatch, task):
    recipe = recipe_of(task, **{f"{task}.copy_paste": 0.5})
    run(small_facade, tmp_path / "whole", recipe)
    save = torch.save

    class Killed(BaseException):
        pass

    def stop(state, path):
        if state["step"] == 2:  # the last; the checkpoint of the first is there
            path.write_bytes(b"half")
            raise Killed
        save(state, path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(torch, "save", stop)
        run(small_facade, tmp_path / "stopped", recipe, checkpoint_seconds=0)
    run(small_facade, tmp_path / "stopped", recipe)
    whole, stopped = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    with (tmp_path / "whole" / "log.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    assert {"loss/objectness", "loss/rpn box", "loss/class", "loss/box", "loss/mask"} <= row.keys()
    assert ("loss/semantic" in row) == (task == "panoptic")
    model = srzoo.load_model(tmp_path / "whole" / "last.safetensors")
    assert model.config.classes[:2] == ("car", "window")
    assert model.config.transform.short_side == 96


def test_losses_fall(scenes, tmp_path):
    run(scenes, tmp_path / "run", recipe_of(steps=None, epochs=12, lr=5e-3, ema_decay=0, evaluate_every=12))
    with (tmp_path / "run" / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.parametrize(
    "changes",
    [
        {"accumulate": 2},
        {"precision": "bf16"},
        {"instance.jitter": 0.3, "instance.crop": None},
        {"instance.frozen_stages": 2, "ema_decay": 0},
        {"model": "cascade_mask_rcnn"},
        {"model": "srnet_mask_rcnn", "model_options": {**TINY, "nodes": 8}},
    ],
    ids=str,
)
def test_options_of_a_run(scenes, tmp_path, changes):
    assert 0 <= run(scenes, tmp_path / "run", recipe_of(**{"steps": 1, **changes})) <= 1


def test_data_of_another_task(scenes, small_camvid, tmp_path):
    semantic = open_dataset(small_camvid, "train")
    with pytest.raises(ValueError, match="instance"):
        open_dataset(small_camvid, "train", task="instance")
    for task, message in {
        "instance": "objects.* FilePairs.*task='instance'",
        "panoptic": "which of its 11 classes",
    }.items():
        with pytest.raises(ValueError, match=f"{task}.*{message}") as info:
            train(recipe_of(task), semantic, semantic, tmp_path / task, workers=0)
        assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_share": 1.5}, "min_share.* 1.5"),
        ({"scale": (2, 1)}, r"scale.*\(2\.0, 1\.0\)"),
        ({"crop": 16}, "crop.* 16"),
        ({"frozen_stages": -1}, "frozen_stages.* -1"),
        ({"mask_weight": -1}, "mask_weight.* -1"),
        ({"frozen_statistics": "maybe"}, "frozen_statistics.*'maybe'"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        InstanceOptions(**options)
