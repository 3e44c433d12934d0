import hashlib
import json
import re

import pytest

from srzoo.evaluate.receipt import add_receipt, read_receipts, weights_facts
from srzoo.recipes.recipe import load_recipe


def receipt(weights: str, protocol: str = "single scale", miou: float = 0.5) -> dict:
    measured = {"headline": "mIoU", "figures": {"mIoU": miou}}
    return {"weights_sha256": weights, "dataset": "camvid", "split": "val", "protocol": protocol, **measured}


def test_receipt_replaces_one_of_the_same_measurement(tmp_path):
    path = tmp_path / "r.json"
    for each in (receipt("a"), receipt("b"), receipt("a", "flip"), receipt("a", miou=0.75)):
        add_receipt(each, path)
    assert read_receipts(path) == [receipt("a", miou=0.75), receipt("b"), receipt("a", "flip")]


def test_receipts_of_the_first_version_are_kept(tmp_path):
    path = tmp_path / "r.json"
    common = {"weights_sha256": "a", "dataset": "camvid", "split": "val", "protocol": "single scale"}
    old = {**common, "miou": 0.7, "iou": {"sky": 0.9}, "pixels": 3, "scales": [1.0], "flip": False, "boundary_f1": None}
    path.write_text(json.dumps([old]))
    new = {
        **common,
        "view": {"scales": [1.0], "flip": False},
        "headline": "mIoU",
        "figures": {"mIoU": 0.7, "boundary F1": None},
        "by_class": {"IoU": {"sky": 0.9}},
        "facts": {"pixels": 3},
    }
    assert read_receipts(path) == [new]
    add_receipt(receipt("b"), path)
    assert json.loads(path.read_text()) == [new, receipt("b")]


def test_two_datasets_of_one_format_are_two_measurements(tmp_path):
    path = tmp_path / "r.json"
    for digest in ("1", "2", "1"):
        add_receipt({**receipt("a"), "split_sha256": digest}, path)
    assert [each["split_sha256"] for each in read_receipts(path)] == ["1", "2"]


def test_folder_is_not_a_file_of_receipts(tmp_path):
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))} .*--receipt"):
        read_receipts(tmp_path)


@pytest.mark.parametrize("text", ["[1]", '[{"miou": 1}]', "no JSON", json.dumps({"dataset": "camvid"})])
def test_another_file_is_not_changed(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"r\.json .*--receipt"):
        add_receipt(receipt("a"), path)
    assert path.read_text() == text


def test_two_id_maps_are_two_measurements(tmp_path):
    path = tmp_path / "r.json"
    for id_map in (None, "{0: 0, 1: 1}", "{0: 1, 1: 255}", "{0: 0, 1: 1}"):
        add_receipt({**receipt("a"), "id_map": id_map}, path)
    assert [each["id_map"] for each in read_receipts(path)] == [None, "{0: 0, 1: 1}", "{0: 1, 1: 255}"]


def test_recipe_beside_the_file_of_a_run_is_recorded(tmp_path):
    model, beside = tmp_path / "model.safetensors", tmp_path / "recipe.yaml"
    model.write_bytes(b"weights")
    assert weights_facts(str(model))["recipe"] is None
    recipe = load_recipe("srnet_lite0_camvid", seed=2, precision="no")
    beside.write_text(recipe.to_yaml())
    facts = weights_facts(str(model))
    assert facts["recipe"] == recipe.to_dict()
    assert facts["seed"] == 2
    assert facts["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    downloaded = tmp_path / "srnet.safetensors"
    downloaded.write_bytes(b"weights")
    assert weights_facts(str(downloaded))["recipe"] is None


@pytest.mark.parametrize("text", ["flour: 500", "1: a\nb: c", "base: 3\nlr: 1"])
def test_recipe_of_another_program_is_ignored(tmp_path, text):
    model = tmp_path / "best.safetensors"
    model.write_bytes(b"weights")
    model.with_name("recipe.yaml").write_text(text)
    assert weights_facts(str(model))["seed"] is None
