"""The commands with detectors: train, eval with receipt and export, segment, data check."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import srzoo
from srzoo.cli import main
from srzoo.data.formats.coco_panoptic import read_ids
from srzoo.data.opening import open_dataset
from srzoo.evaluate.classes import in_order_of_model

NETWORKS = {"instance": "mask_rcnn", "panoptic": "panoptic_fpn"}


@pytest.fixture
def saved(detector, tmp_path):
    """Save the small detector of a task; returns the path."""

    def save(task):
        path = tmp_path / f"{task}.safetensors"
        srzoo.save_model(detector(NETWORKS[task]), path)
        return str(path)

    return save


@pytest.mark.parametrize("target", ["out", "out/own.json"])
def test_eval_of_instances(scenes, saved, tmp_path, capsys, target):
    model, receipt, export = saved("instance"), tmp_path / "r.json", tmp_path / target
    command = ["eval", "--model", model, "--data.root", str(scenes), "--receipt", str(receipt), "--export", str(export)]
    assert main([*command, "--worst", "1", "--out", str(tmp_path / "worst")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^green +[\d.]+%", printed, re.M) and "mask AP" in printed and "box AP75" in printed
    (entry,) = json.loads(receipt.read_text())
    assert (entry["headline"], entry["dataset"], entry["images"]) == ("mask AP", "coco", 2)
    assert {"mask AP", "mask AP50", "box AP"} <= entry["figures"].keys()
    assert entry["view"]["score"] == 0.05 and "0.05 or more" in entry["protocol"]
    file = export if target.endswith("json") else export / "results.json"
    detections = json.loads(file.read_text())
    assert len(detections) == entry["facts"]["detections"] > 0
    assert {each["category_id"] for each in detections} <= {0, 90}
    assert {each["image_id"] for each in detections} <= {1000, 999}
    assert COCO(str(scenes / "annotations" / "instances_val.json")).loadRes(str(file))
    (picture,) = (tmp_path / "worst").iterdir()
    assert picture.name.startswith("01_maskap")


@pytest.mark.parametrize(("task", "file"), [("instance", "instances_{}.json"), ("panoptic", "panoptic_{}.json")])
def test_annotations_of_no_split_are_replaced(task, file, scenes, saved, capsys):
    """By results, with --export; results are, and there are none of a refused evaluation."""
    train, val = (scenes / "annotations" / file.format(split) for split in ("train", "val"))
    command = ["eval", "--model", saved(task), "--data.root", str(scenes), "--split", "val", "--export"]
    for path in (train, val):
        before = path.read_bytes()
        assert main([*command, str(path)]) == 2
        assert file.format(path.stem.split("_")[1]) in capsys.readouterr().err
        assert path.read_bytes() == before
    results = scenes / "results.JSON"
    assert main([*command, str(results)]) == main([*command, str(results)]) == 0
    assert results.is_file()
    results.write_text('{"mine": 1}')
    assert main([*command, str(results)]) == 2 and results.read_text() == '{"mine": 1}'


def test_eval_of_panoptic(scenes, saved, tmp_path, capsys):
    model, receipt, export = saved("panoptic"), tmp_path / "r.json", tmp_path / "out"
    command = ["eval", "--model", model, "--data.root", str(scenes), "--receipt", str(receipt), "--export", str(export)]
    assert main([*command, "--stuff_area", "50", "--score", "0.3"]) == 0
    assert re.search(r"PQ [\d.]+%.*RQ stuff", capsys.readouterr().out)
    (entry,) = json.loads(receipt.read_text())
    assert (entry["headline"], entry["dataset"]) == ("PQ", "coco_panoptic")
    assert entry["view"] == {"score": 0.3, "detections": 100, "overlap": 0.5, "stuff_area": 50}
    assert set(entry["by_class"]["PQ"]) == {"green", "wall", "floor", "red"}
    content = json.loads((export / "panoptic.json").read_text())
    for each in content["annotations"]:
        ids = read_ids(export / "panoptic" / each["file_name"])
        areas = {id: int((ids == id).sum()) for id in np.unique(ids).tolist() if id}
        assert {segment["id"]: segment["area"] for segment in each["segments_info"]} == areas
        assert {segment["category_id"] for segment in each["segments_info"]} <= {0, 7, 40, 90}


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("instance", ["s0_objects.json", "s0_overlay.jpg"]),
        ("panoptic", ["s0_overlay.jpg", "s0_panoptic.json", "s0_panoptic.png"]),
    ],
)
def test_segment(scenes, saved, tmp_path, capsys, task, names):
    image, out = scenes / "val" / "s0.png", tmp_path / "out"
    command = ["segment", str(image), "--model", saved(task), "--out", str(out)]
    assert main(command) == 0
    assert sorted(path.name for path in out.iterdir()) == names
    with Image.open(out / "s0_overlay.jpg") as overlay:
        assert overlay.size == Image.open(image).size
    content = json.loads((out / next(name for name in names if name.endswith("json"))).read_text())
    assert content["width"] == 90 and content["height"] == 120
    assert "s0_overlay.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("task", NETWORKS)
def test_train_from_a_file(scenes, saved, tmp_path, capsys, task):
    options = ["--steps", "1", "--batch_size", "1", f"--{task}.crop", "64", "--lr", "0", "--ema_decay", "0"]
    command = ["train", "--model", saved(task), "--data.root", str(scenes), "--workers", "0", *options]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    headline = {"instance": "mask AP", "panoptic": "PQ"}[task]
    assert re.search(rf"val {headline} [\d.]+%", capsys.readouterr().out)
    first, after = srzoo.load_model(saved(task)), srzoo.load_model(tmp_path / "run" / "last.safetensors")
    assert after.config.labels.classes == first.config.labels.classes
    assert all((after.get_parameter(name) == value).all() for name, value in first.named_parameters())


def renumber(root, task, things=None):
    """Reverse the ids of categories, in the categories and all annotations alike, and maybe set their ``isthing``."""
    name = {"instance": "instances", "panoptic": "panoptic"}[task]
    for path in (root / "annotations").glob(f"{name}_*.json"):
        content = json.loads(path.read_text())
        ids = sorted(each["id"] for each in content["categories"])
        other = dict(zip(ids, ids[::-1]))
        for each in content["categories"]:
            each["id"] = other[each["id"]]
            each["isthing"] = (things or {}).get(each["name"], each.get("isthing"))
        for annotation in content["annotations"]:
            for each in annotation.get("segments_info", [annotation]):
                each["category_id"] = other[each["category_id"]]
        path.write_text(json.dumps(content))


@pytest.mark.parametrize("task", NETWORKS)
def test_classes_are_found_by_their_names(scenes, saved, tmp_path, task):
    """With other ids of the same categories the figures stay, and results have the dataset's own ids."""
    figures, results = [], []
    options = ["--stuff_area", "50", "--score", "0.2"] if task == "panoptic" else []
    for turn in range(2):
        receipt, export = tmp_path / f"{turn}.json", tmp_path / f"results{turn}.json"
        command = ["eval", "--model", saved(task), "--data.root", str(scenes), "--receipt", str(receipt)]
        assert main([*command, "--export", str(export), *options]) == 0
        (entry,) = json.loads(receipt.read_text())
        figures.append((entry["figures"], entry["by_class"]))
        content = json.loads(export.read_text())
        found = content if task == "instance" else [s for a in content["annotations"] for s in a["segments_info"]]
        results.append([each["category_id"] for each in found])
        if not turn:
            renumber(scenes, task)
    assert figures[0] == figures[1]
    other = {0: 90, 7: 40, 40: 7, 90: 0}
    assert results[1] == [other[id] for id in results[0]] and len({*results[0]}) > 1
    if task == "panoptic":
        found = {each["name"]: each["id"] for each in content["categories"]}
        assert found == {"green": 90, "wall": 40, "floor": 7, "red": 0}


@pytest.mark.parametrize("task", NETWORKS)
def test_items_have_the_model_s_ids(scenes, detector, task):
    labels = detector(NETWORKS[task]).config.labels

    def classes():
        data = in_order_of_model(open_dataset(scenes, "val", task=task), labels)
        item = data[0]
        return item.objects.classes.tolist() if task == "instance" else [each.class_id for each in item.segments]

    before = classes()
    renumber(scenes, task)
    assert classes() == before and len({*before}) > 1
    assert open_dataset(scenes, "val", task=task).labels.classes == labels.classes[::-1]


@pytest.mark.filterwarnings("ignore:.*segments of 'red'")
def test_things_that_contradict_the_model_are_refused(scenes, saved, capsys):
    renumber(scenes, "panoptic", {"wall": 1, "red": 0})
    assert main(["eval", "--model", saved("panoptic"), "--data.root", str(scenes)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"'wall' is a thing in the data.* surface in the model.*'isthing': 0", error)


@pytest.mark.parametrize("task", NETWORKS)
def test_training_on_classes_in_another_order(scenes, saved, tmp_path, task):
    """The heads are reordered, so the untrained model has the figures that it had."""
    first = srzoo.load_model(saved(task))
    before = srzoo.evaluate(first, scenes, progress=False)
    renumber(scenes, task)
    keys = {"steps": 1, "batch_size": 1, "lr": 0, "ema_decay": 0, task: {"crop": 64}, "workers": 0}
    run = srzoo.train(saved(task), scenes, out=tmp_path / "run", **keys)
    assert run.model.config.classes == first.config.classes[::-1]
    assert run.value == pytest.approx(before.value, abs=1e-6)
    after = srzoo.evaluate(run.model, scenes, progress=False)
    for name, values in before.by_class.items():
        assert after.by_class[name] == pytest.approx(values, abs=1e-6)


def test_data_check(scenes, capsys):
    for task in NETWORKS:
        assert main(["data", "check", str(scenes), "--task", task, "--workers", "0"]) == 0
        assert re.search(r"^ *\d+ +red ", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("instance", ["--score", "2"], "score.* 2"),
        ("instance", ["--stuff_area", "9"], "stuff_area"),
        ("panoptic", ["--overlap", "-1"], "overlap.* -1"),
        ("instance", ["--export", "/proc/nowhere"], "/proc/nowhere.*--export"),
        ("panoptic", ["--export", "/proc/nowhere/x.json"], "/proc/nowhere.*--export"),
        ("instance", ["--data.format", "camvid"], "camvid.*'instance'"),
    ],
)
def test_errors_are_one_line(scenes, saved, task, options, message, capsys):
    assert main(["eval", "--model", saved(task), "--data.root", str(scenes), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error.splitlines()[-1]), error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("task", NETWORKS)
def test_gray_labels_of_objects_are_refused_before_any_image(scenes, saved, task, tmp_path, capsys):
    command = ["segment", str(scenes / "val"), "--model", saved(task), "--out", str(tmp_path / "out"), "--gray"]
    assert main(command) == 2
    assert capsys.readouterr().err.count("gray is for") == 1
    assert not (tmp_path / "out").exists()


def test_model_of_one_task_and_data_of_another(small_camvid, saved, tmp_path, capsys):
    assert main(["eval", "--model", saved("instance"), "--data.root", str(small_camvid)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main(["train", "--model", saved("panoptic"), "--data.root", str(small_camvid), "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
