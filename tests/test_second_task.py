"""A second task, which is defined in this file alone, works with every command.

It predicts one number per image, the share of its pixels that is bright, and has its own samples, losses, meter and
result.
"""

import dataclasses
import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import srzoo
from srzoo.cli import main
from srzoo.data.files import NoSplit
from srzoo.data.formats import FORMATS
from srzoo.data.opening import open_dataset
from srzoo.data.samples import ImageFiles
from srzoo.labels import LabelSet
from srzoo.models import NETWORKS
from srzoo.models.base import ZooModel
from srzoo.options import check, documented, option
from srzoo.recipes.recipe import Recipe, load_recipe
from srzoo.tasks.result import ImageResult, Region
from srzoo.tasks.task import TASKS, Found, Score
from srzoo.train.loop import train
from srzoo.zoo import registry
from srzoo.zoo.datasets import DATASETS, Dataset
from srzoo.zoo.registry import Architecture, Backbone

CLASSES = LabelSet(("bright", "dark"), ((255, 255, 0), (0, 0, 128)))
HALF = ("left", "right", "both")


@documented
@dataclass(kw_only=True)
class ShareOptions:
    """Keys of the shares."""

    weight: float = option("weight of the loss", 1.0, low=0)
    noise: float = option("standard deviation of the noise added to an image, 0 to 255", 0.0, low=0, high=255)

    def __post_init__(self):
        check(self)


@documented
@dataclass(frozen=True)
class ShareView:
    """The half of an image that is passed to the model."""

    MEASURED: ClassVar = {}
    FROM_RECIPE: ClassVar = ()

    half: str = option("left, right or both", "both")

    def __post_init__(self):
        check(self)
        if self.half not in HALF:
            raise ValueError(f"half must be one of {', '.join(HALF)}, got {self.half!r}")

    def sentence(self, transform) -> str:
        return f"the {self.half} of it at {transform.short_side}"


@dataclass
class ShareData(ImageFiles):
    paths: list[Path]
    shares: list[float]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.image(index), self.shares[index]

    def image_file(self, index):
        return self.paths[index]

    def target_name(self, index):
        return f"{self.paths[index]}: share"

    def target_bytes(self, index):
        return str(self.shares[index]).encode()


class ShareFormat:
    name, layout, tasks = "shares", "<split>.json with a share for each image", ("share",)

    def matches(self, root):
        return (root / "train.json").is_file() and (root / "val.json").is_file()

    def read(self, root, split, task="share"):
        if not (root / f"{split}.json").is_file():
            raise NoSplit(f"{root} has no {split}.json")
        found = json.loads((root / f"{split}.json").read_text())
        paths = [root / name for name in found]
        return ShareData("shares", split, CLASSES, paths, list(found.values()))


class ShareNet(ZooModel):
    task = "share"
    input_multiple = 1

    def __init__(self, backbone: str, num_classes: int, width: int = 4):
        super().__init__()
        self.backbone = nn.Conv2d(3, width, 1)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.classifier(self.backbone(x).tanh().mean((2, 3))).softmax(1)


class ShareSamples(torch.utils.data.Dataset):
    """Images of different sizes, so a batch is a list, made by `collate`."""

    def __init__(self, data, options, seed):
        self.data, self.options, self.seed = data, options, seed

    def __len__(self):
        return len(self.data)

    def __getitem__(self, position):
        image, share = self.data[position % len(self.data)]
        noise = self.options.noise * np.random.default_rng([self.seed, position]).normal(size=image.shape)
        return (image + noise).clip(0, 255).astype(np.uint8), share, position % len(self.data)

    @staticmethod
    def collate(items):
        images, shares, indices = zip(*items)
        return [torch.from_numpy(i).permute(2, 0, 1)[None] for i in images], torch.tensor(shares), torch.tensor(indices)


@dataclass(eq=False, repr=False)
class ShareResult(ImageResult):
    image: Image.Image
    share: float
    classes, palette = CLASSES.classes, CLASSES.palette

    def _drawn(self, alpha):
        return Image.blend(self.image, Image.new("RGB", self.image.size, CLASSES.palette[0]), alpha * self.share)

    def mask(self, which):
        return np.asarray(self.image.convert("L")) > 128

    def regions(self):
        yield Region(0, self.mask("bright"), 0, 0)

    def _contents(self, saving):
        return {}

    def to_dict(self):
        return {"share": self.share}

    def found(self):
        return [Found("bright", f"{self.share:.0%}", self.colours[0])]


class ShareMeter:
    def __init__(self):
        self.errors = []

    def update(self, result, sample):
        self.errors.append(abs(result.share - sample[1]))
        return 1 - self.errors[-1]

    def merge(self, other):
        self.errors += other.errors

    def score(self):
        if not self.errors:
            return None
        closeness = 1 - sum(self.errors) / len(self.errors)
        return Score("closeness", {"closeness": closeness}, {}, {"images": len(self.errors)})


class ShareExport:
    def __init__(self, folder):
        self.path, self.shares = folder / "shares.json", {}

    def paths(self, names):
        return [self.path]

    def is_own(self, path):
        return True

    def add(self, result, index, name):
        self.shares[name] = result.share

    def merge(self, other):
        self.shares |= other.shares

    def finish(self):
        self.path.write_text(json.dumps(self.shares))


class ShareTask:
    name, headline, Options, View, endings = "share", "closeness", ShareOptions, ShareView, ()

    def fine_tuning(self):
        return {"noise": 3}

    def check(self, splits, num_classes, root, training):
        for data in splits.values():
            wrong = [share for share in data.shares if not 0 <= share <= 1]
            if wrong:
                raise ValueError(f"{root}: shares must be from 0 to 1, got {wrong[0]}")

    def describe(self, report):
        return [f"{sum(facts.images for facts in report.splits.values())} shares"]

    def proposed_options(self, report):
        return []

    def samples(self, data, options, transform, seed):
        return ShareSamples(data, options, seed)

    def objective(self, model, data, options, context):
        normalize = model.config.transform.normalize

        def losses(forward, batch):
            images, shares, _ = batch
            found = torch.cat([forward(normalize(image))[:, 0] for image in images])
            return {
                "distance": options.weight * (found - shares).abs().mean(),
                "square": options.weight * (found - shares).square().mean(),
            }

        return losses

    def check_view(self, model, view):
        pass

    def predict(self, model, image, view, brief=False):
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        middle = image.width // 2
        pixels = {"left": pixels[..., :middle], "right": pixels[..., middle:], "both": pixels}[view.half]
        return ShareResult(image, model(model.config.transform.normalize(pixels))[0, 0].item())

    def predict_batch(self, model, images, view, brief=False):
        return [self.predict(model, image, view) for image in images]

    def meter(self, config, device, brief=False, view=None):
        return ShareMeter()

    def comparison(self, result, sample, config):
        return result.overlay()

    def export(self, path, config, data):
        return ShareExport(path)


@pytest.fixture
def toy(monkeypatch):
    """Registers the task, until the end of the test."""
    monkeypatch.setitem(TASKS, "share", ShareTask())
    monkeypatch.setitem(NETWORKS, "sharenet", ShareNet)
    monkeypatch.setitem(FORMATS, "shares", ShareFormat())
    monkeypatch.setitem(
        DATASETS, "patches", Dataset("Patches", "Patches: made in a test", {"share": CLASSES}, 32, (33, 47))
    )
    monkeypatch.setattr(registry, "ARCHITECTURES", dict(registry.ARCHITECTURES))
    entry = Architecture("Shares", "share", "sharenet", Backbone("one convolution", {"backbone": "none"}), {"width": 3})
    registry.register("share_tiny", entry)


@pytest.fixture
def root(tmp_path) -> Path:
    """Images of odd and different sizes whose upper part is bright."""
    root = tmp_path / "data"
    root.mkdir()
    for split, count in {"train": 8, "val": 3}.items():
        shares = {}
        for i in range(count):
            height, width = 33 + 2 * i, 47 + i
            rows = round(height * (i + 1) / (count + 1))
            image = np.full((height, width, 3), 30, np.uint8)
            image[:rows] = 220
            Image.fromarray(image).save(root / f"{split}{i}.png")
            shares[f"{split}{i}.png"] = rows / height
        (root / f"{split}.json").write_text(json.dumps(shares))
    return root


RECIPE = {
    "model": "share_tiny_patches",
    "start": "random",
    "batch_size": 4,
    "lr": 0.05,
    "epochs": 20,
    "evaluate_every": 10,
    "ema_decay": 0,
    "precision": "no",
    "warmup_epochs": 0,
    "share": {"noise": 2},
}


def test_train_evaluate_and_segment(toy, root, tmp_path, capsys):
    recipe = Recipe.from_dict(RECIPE)
    splits = [open_dataset(root, split, task="share") for split in ("train", "val")]
    closeness = train(recipe, *splits, tmp_path / "run", workers=0)
    assert closeness > 0.85
    header, *rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert {"closeness", "loss/distance", "loss/square"} <= set(header.split(","))
    assert len(rows) == 20
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    model = str(tmp_path / "run" / "last.safetensors")

    receipt, export, worst = tmp_path / "r.json", tmp_path / "export", tmp_path / "worst"
    command = ["eval", "--model", model, "--data.root", str(root), "--receipt", str(receipt)]
    assert main([*command, "--export", str(export), "--worst", "1", "--out", str(worst)]) == 0
    assert main([*command, "--half", "left"]) == 0
    both, left = json.loads(receipt.read_text())
    assert (both["headline"], both["figures"]["closeness"]) == ("closeness", pytest.approx(closeness))
    assert (both["dataset"], both["split"], both["images"], both["facts"]) == ("shares", "val", 3, {"images": 3})
    assert both["recipe"] == json.loads(json.dumps(recipe.to_dict()))
    assert left["command"].endswith("--split val --half left") and left["view"] == {"half": "left"}
    assert left["protocol"] == "the left of it at 32"
    assert f"closeness {closeness:.2%}" in capsys.readouterr().out
    exported = json.loads((export / "shares.json").read_text())
    assert sorted(exported) == ["val0", "val1", "val2"]
    (picture,) = worst.iterdir()
    assert picture.name.startswith("01_closeness")

    result = srzoo.Segmenter(model, "cpu", half="both")(root / "val2.png")
    assert result.share == pytest.approx(exported["val2"])
    assert main(["segment", str(root / "val2.png"), "--model", model, "--out", str(tmp_path / "shown")]) == 0
    assert f"bright  {result.share:.0%}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "shown").iterdir()] == ["val2_overlay.jpg"]


def test_train_command_with_keys_of_the_task(toy, root, tmp_path, capsys):
    options = ["--epochs", "1", "--share.weight", "2", "--start", "random", "--workers", "0"]
    command = ["train", "--model", "share_tiny_patches", "--data.root", str(root), "--out", str(tmp_path / "run")]
    assert main([*command, *options]) == 0
    printed = capsys.readouterr().out
    assert "val closeness" in printed and "8 images to train on, 3 to evaluate" in printed
    kept = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert kept.options == ShareOptions(weight=2, noise=3)
    assert main([*command, *options]) == 0
    assert re.search(r"finished.*step (\d+) of \1", capsys.readouterr().out)
    assert main([*command, *options, "--semantic.crop", "64"]) == 2
    assert re.search(r"semantic\.crop .*\bshare\b.*share_tiny_patches", capsys.readouterr().err)


def test_its_data_are_checked(toy, root, capsys):
    assert main(["data", "check", str(root), "--task", "share", "--workers", "0"]) == 0
    assert "11 shares" in capsys.readouterr().out


def test_models_exist_only_for_datasets_of_the_task(toy):
    assert "share_tiny_patches" in srzoo.list_models() and "share_tiny_camvid" not in srzoo.list_models()
    assert "srnet_r50_patches" not in srzoo.list_models()
    assert srzoo.model_info("share_tiny_patches").classes == CLASSES.classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--half", "top"], "half .*left, right, both.*'top'"),
        (["--window", "64"], "'window'"),
        (["--data.format", "camvid"], "camvid.*'share'"),
    ],
)
def test_errors_of_the_task(toy, root, tmp_path, options, message, capsys):
    model = tmp_path / "m.safetensors"
    srzoo.save_model(srzoo.create_model("share_tiny_patches"), model)
    assert main(["eval", "--model", str(model), "--data.root", str(root), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and len(error.splitlines()) == 1


def test_its_models_are_entries_of_torch_hub(toy, request, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("hubconf", request.config.rootpath / "hubconf.py")
    hubconf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    assert "of the task share;" in hubconf.share_tiny_patches.__doc__
    assert hubconf.share_tiny_patches().task == "share"


def test_semantic_task_is_still_there(toy):
    assert dataclasses.is_dataclass(srzoo.tasks.task.get_task("semantic").Options)
    with pytest.raises(ValueError, match="'depth'.*semantic"):
        srzoo.tasks.task.get_task("depth")
