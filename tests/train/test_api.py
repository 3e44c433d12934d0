"""Training and evaluation from Python, on folders and on your own datasets."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import srzoo
from srzoo.data.own import check_own, own_data
from srzoo.labels.own import numbered_labels

OPTIONS = {"backbone": "test_efficientnet", "channels": 32, "output_stride": 16}
SHORT = {"start": "random", "steps": 2, "batch_size": 2, "semantic.crop": 64, "short_side": 64, "precision": "no"}
TINY = {**SHORT, "model_options": OPTIONS, "workers": 0}


class Shapes(Dataset):
    """Squares on noise, as different kinds of item."""

    def __init__(self, count=4, kind="arrays", void=255):
        self.count, self.kind, self.void = count, kind, void

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (64, 80 + index, 3), dtype=np.uint8)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[10:30, 10:40], mask[:4] = 1, self.void % 256
        if self.kind == "tensors":
            return torch.from_numpy(image).permute(2, 0, 1) / 255, torch.from_numpy(mask.astype(np.int64))[None]
        if self.kind == "dicts":
            return {"image": Image.fromarray(image), "mask": Image.fromarray(mask)}
        return image, mask


@pytest.mark.parametrize("kind", ["arrays", "tensors", "dicts"])
def test_own_dataset(tmp_path, kind):
    run = srzoo.train(
        "srnet",
        Shapes(kind=kind),
        Shapes(2, kind),
        out=tmp_path / "run",
        classes=["ground", "square"],
        palette=["#000000", (255, 0, 0)],
        **TINY,
    )
    assert run.headline == "mIoU"
    assert 0 <= run.value <= 1
    assert run.model.config.labels.classes == ("ground", "square")
    assert run.model.config.labels.palette == ((0, 0, 0), (255, 0, 0))
    assert not run.model.training
    assert run.history[-1]["step"] == 2
    assert run.history[-1]["mIoU"] == run.value
    assert srzoo.load_model(run.best).num_classes == 2
    score = srzoo.evaluate(run.last, Shapes(2, kind), progress=False)
    assert score.value == pytest.approx(run.value)
    assert set(score.by_class["IoU"]) == {"ground", "square"}
    assert srzoo.evaluate(run.model, Shapes(2, kind), flip=True, scales=(1.0, 1.5)).headline == "mIoU"


def test_a_run_resumes_and_a_model_object_is_the_start(tmp_path):
    model = srzoo.create_model("srnet", num_classes=2, **OPTIONS)
    before = model.classifier.weight.clone()
    keys = {**SHORT, "workers": 0, "lr": 0.0, "ema_decay": 0.0}
    del keys["start"]
    run = srzoo.train(model, Shapes(), Shapes(2), out=tmp_path, **keys)
    assert torch.equal(run.model.classifier.weight, before)
    assert torch.equal(model.classifier.weight, before)
    again = srzoo.train(model, Shapes(), Shapes(2), out=tmp_path, **keys)
    assert again.value == run.value


def test_a_folder(small_camvid, tmp_path):
    run = srzoo.train("srnet", small_camvid, out=tmp_path / "run", **TINY)
    assert run.model.num_classes == 11
    assert srzoo.evaluate(run.last, progress=False).value == pytest.approx(run.value)  # where the run's data lay
    assert srzoo.evaluate(run.last, small_camvid, "train", reading={"format": "camvid"}) is not None


def test_a_mask_of_another_size_is_named_once():
    items = [(np.zeros((64, 80, 3), np.uint8), np.zeros((64, 79), np.uint8))]
    with pytest.raises(ValueError, match="item 0 of train is 80x64, its mask 79x64;"):
        own_data(items, "train", "semantic", numbered_labels(2))[0]


def test_void_of_an_own_dataset(tmp_path):
    run = srzoo.train("srnet", Shapes(void=-1 % 256), Shapes(2), out=tmp_path, num_classes=2, void=255, **TINY)
    assert run.model.config.classes == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("splits", "options", "message"),
    [
        ((Shapes(), None), {"num_classes": 2}, "val_set"),
        ((Shapes(), Shapes(2)), {}, "num_classes"),
        ((Shapes(void=7), Shapes(2)), {"num_classes": 2}, r"item 0 of train.* 7.*0 to 1"),
        ((Shapes(), Shapes(2)), {"num_classes": 2, "void": 1}, "void=1.*0 to 1"),
        ((iter([]), Shapes(2)), {"num_classes": 2}, "list_iterator"),
        (([], Shapes(2)), {"num_classes": 2}, "train has no items"),
        (([1], Shapes(2)), {"num_classes": 2}, "item 0 of train is a int"),
        (([{"a": 1}], Shapes(2)), {"num_classes": 2}, "item 0 of train has the keys a"),
        (([(np.zeros((9, 9)), np.zeros((9, 9)) + 0.5)], Shapes(2)), {"num_classes": 2}, r"\(9, 9\).*float64"),
        (([(np.zeros((9, 9)), np.zeros((9, 8)))], Shapes(2)), {"num_classes": 2}, "9x9.*8x9"),
        (([(np.zeros((9, 9)) - 1, np.zeros((9, 9)))], Shapes(2)), {"num_classes": 2}, "item 0 of train.*-1"),
        ((Shapes(), Shapes(2)), {"classes": ["a", "a"]}, "'a' is named twice"),
        ((Shapes(), Shapes(2)), {"classes": ["a", "b"], "palette": ["#000"]}, "1 colours for 2"),
        ((Shapes(), Shapes(2)), {"classes": ["a", "b"], "palette": ["#000", 3]}, "#000"),
        ((Shapes(), Shapes(2)), {"palette": ["#000"]}, "classes"),
        ((Shapes(), Shapes(2)), {"num_classes": 2, "epoch": 2}, "'?epoch'?.*epochs"),
    ],
)
def test_invalid_arguments(tmp_path, splits, options, message):
    with pytest.raises(ValueError, match=message):
        srzoo.train("srnet", *splits, out=tmp_path / "run", **{**TINY, **options})
    assert not (tmp_path / "run").exists()


class Squares(Shapes):
    """The same as objects, as torchvision's detectors take them; the second of each image is empty."""

    def __init__(self, count=4, labels=(1, 2), **changes):
        super().__init__(count)
        self.labels, self.changes = labels, changes

    def __getitem__(self, index):
        image, mask = super().__getitem__(index)
        masks = torch.from_numpy(np.stack([mask == 1, mask == 7]))
        target = {"boxes": torch.zeros(2, 4), "masks": masks, "labels": torch.as_tensor(self.labels)}
        return torch.from_numpy(image).permute(2, 0, 1) / 255, {**target, **self.changes}


HEADS = {"channels": 16, "box_channels": 24, "mask_layers": (16,)}
DETECTOR = {**TINY, "semantic.crop": 64, "model_options": {"backbone": "test_resnet", **HEADS}}
DETECTOR["instance.crop"] = DETECTOR.pop("semantic.crop")


def test_own_objects(tmp_path):
    out = tmp_path / "run"
    run = srzoo.train("mask_rcnn", Squares(), Squares(2), out=out, classes=["square", "other"], **DETECTOR)
    assert run.headline == "mask AP" and run.history[-1]["step"] == 2
    assert run.model.config.labels.classes == ("square", "other")
    assert srzoo.evaluate(run.last, Squares(2), progress=False).value == pytest.approx(run.value)


def test_an_object_is_the_pixels_of_its_mask():
    data = own_data(Squares(iscrowd=torch.tensor([1, 0])), "train", "instance", numbered_labels(2))
    image, objects = data[1]
    assert image.shape == (64, 81, 3) and objects.size == (64, 81)
    assert (objects.boxes.tolist(), objects.classes.tolist()) == ([[10, 10, 40, 30]], [0])
    assert (objects.areas.tolist(), objects.crowd.tolist(), objects.ids) == ([600], [True], [0])
    assert objects.decode([0]).sum() == 600
    assert data.digest() == own_data(Squares(iscrowd=[1, 0]), "train", "instance", data.labels).digest()
    assert data.digest() != own_data(Squares(), "train", "instance", data.labels).digest()
    assert data.select([2, 1])[1].image.shape == image.shape
    without = own_data(Squares(masks=torch.zeros(0, 64, 80), labels=torch.zeros(0)), "val", "instance", data.labels)
    with pytest.raises(ValueError, match="no item of val has an object"):
        check_own({"val": without.select([0])})


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Squares(labels=(0, 1)), "item 0 of train: target .*label 0; .*1 to 2"),
        (Squares(labels=(1, 3)), "label 3; .*1 to 2"),
        (Squares(labels=(1,)), r"masks of shape \(2, 64, 80\), labels of \(1,\)"),
        (Squares(masks=torch.full((2, 64, 80), 255)), "masks with values from 255 to 255; .*0 and 1"),
        (Squares(masks=torch.ones(2, 64, 64)), "80x64.*64x64"),
        (Shapes(), "target is a ndarray; .*'masks' and 'labels'"),
        ([(torch.zeros(3, 9, 9), {"boxes": []})], "target is boxes; .*'masks' and 'labels'"),
    ],
)
def test_invalid_targets(dataset, message, tmp_path):
    with pytest.raises(ValueError, match=message) as info:
        srzoo.train("mask_rcnn", dataset, Squares(2), out=tmp_path / "run", num_classes=2, **DETECTOR)
    assert "\n" not in str(info.value) and not (tmp_path / "run").exists()


def test_panoptic_models_take_folders_only(tmp_path):
    with pytest.raises(ValueError, match="'panoptic' .*folder"):
        srzoo.train("panoptic_fpn_lite0", Shapes(), out=tmp_path, num_classes=2)


def test_import_stays_light():
    code = "import sys, srzoo; srzoo.train, srzoo.evaluate; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_both_names_are_modules_too():
    from srzoo.evaluate.evaluation import evaluate
    from srzoo.train.loop import train

    assert callable(srzoo.train)
    assert callable(srzoo.evaluate)
    assert srzoo.train.loop.train is train
    assert srzoo.evaluate.evaluation.evaluate is evaluate
