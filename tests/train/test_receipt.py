import json

import pytest

from srzoo.train.receipt import _id_map_arguments, _recipe, add_receipt, read_receipts
from srzoo.train.recipe import load_recipe


def receipt(weights: str, protocol: str = "single scale", miou: float = 0.5) -> dict:
    return {"weights_sha256": weights, "dataset": "camvid", "split": "val", "protocol": protocol, "miou": miou}


def test_a_measurement_replaces_only_its_like(tmp_path):
    path = tmp_path / "r.json"
    for each in (receipt("a"), receipt("b"), receipt("a", "flip"), receipt("a", miou=0.75)):
        add_receipt(each, path)
    assert read_receipts(path) == [receipt("a", miou=0.75), receipt("b"), receipt("a", "flip")]


def test_two_data_sets_of_one_format_are_two_measurements(tmp_path):
    path = tmp_path / "r.json"
    for digest in ("1", "2", "1"):
        add_receipt({**receipt("a"), "split_sha256": digest}, path)
    assert [each["split_sha256"] for each in read_receipts(path)] == ["1", "2"]


def test_a_folder_is_no_file_of_receipts(tmp_path):
    with pytest.raises(ValueError, match="is no list of receipts; give --receipt another name"):
        read_receipts(tmp_path)


@pytest.mark.parametrize("text", ["[1]", '[{"miou": 1}]', "no JSON", json.dumps({"dataset": "camvid"})])
def test_another_file_is_left_alone(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no list of receipts; give --receipt another name"):
        add_receipt(receipt("a"), path)
    assert path.read_text() == text


def test_the_command_has_the_id_map():
    assert _id_map_arguments(None) == []
    assert _id_map_arguments({0: 255, 7: 0, "#ff0000": 1}) == ["--data.id_map", "{0: 255, 7: 0, '#ff0000': 1}"]


def test_the_recipe_of_a_run_is_beside_its_file(tmp_path):
    model = str(tmp_path / "model.safetensors")
    assert _recipe(model) is None
    recipe = load_recipe("srnet_lite0_camvid", seed=2, precision="no")
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert _recipe(model) == recipe
    (tmp_path / "recipe.yaml").write_text("flour: 500\n")
    assert _recipe(model) is None
    assert _recipe("srnet_dfv2_camvid").teacher == "srnet_lite0_camvid"
