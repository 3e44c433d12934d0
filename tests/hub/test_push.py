"""Publishing, to a hub on the loopback address."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import srzoo
from srzoo.cli import main
from srzoo.data.reading import Reading
from srzoo.hub.push import push_to_hub, write_repository
from srzoo.labels import LabelSet
from srzoo.recipes.recipe import load_recipe
from tests.zoo.hub_server import TOKEN, served_hub, use_hub

pytestmark = pytest.mark.filterwarnings("default:the header of the file")  # which a test looks for
OPTIONS = {"backbone": "tf_efficientnet_lite0", "num_classes": 3, "channels": 32, "output_stride": 16}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub, to which the user has logged in."""
    from huggingface_hub import constants

    with served_hub() as hub:
        use_hub(monkeypatch, hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def model():
    return srzoo.create_model("srnet", **OPTIONS)


@pytest.fixture
def file(model, tmp_path):
    """The file of a run."""
    recipe = load_recipe("srnet_lite0_camvid")
    recipe = dataclasses.replace(recipe, epochs=1, data=Reading(root="/home/me/secret"))
    path = tmp_path / "run.safetensors"
    srzoo.save_model(model, path, dtype=torch.float16, recipe=recipe.to_yaml())
    return path


def receipts_of(path, classes, tmp_path, **changes):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    receipt = {
        "dataset": "folder",
        "split": "val",
        "images": 4,
        "protocol": "single scale",
        "headline": "mIoU",
        "figures": {"mIoU": 0.5, "pixel accuracy": 0.75},
        "by_class": {"IoU": dict.fromkeys(classes, 0.25)},
        "command": "srzoo eval --model run.safetensors",
        "commit": "abc",
        "weights_sha256": sha256,
        **changes,
    }
    target = tmp_path / "receipt.json"
    target.write_text(json.dumps([receipt]))
    return target


def test_what_is_pushed_can_be_loaded(hub, file, model, tmp_path, examples, capsys):
    receipt = receipts_of(file, model.config.classes, tmp_path)
    options = ["--receipt", str(receipt), "--image", str(examples / "street.png"), "--licence", "my photographs: CC0"]
    assert main(["push", str(file), "me/street", *options]) == 0
    printed = capsys.readouterr()
    assert f"{hub.address}/me/street" in printed.out
    assert "/home/me/secret" in printed.err  # it is in the file, and so public now
    ((repository, files),) = hub.commits
    assert repository == "me/street"
    assert sorted(files) == ["README.md", "classes.png", "model.safetensors", "overlay.jpg"]
    assert files["model.safetensors"] == file.read_bytes()
    loaded = srzoo.load_model("hf-hub:me/street").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in srzoo.load_model(file).state_dict().items())
    card = files["README.md"].decode()
    for each in ("50.00%", "75.00%", "25.00%", "single scale", "my photographs: CC0", "epochs: 1", "hf-hub:me/street"):
        assert each in card, each
    assert "/home/me" not in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(code.strip().splitlines()) == 2
    with Image.open(hub_file(tmp_path, files, "overlay.jpg")) as picture:
        assert picture.size == (960, 360)


def hub_file(tmp_path, files, name):
    (tmp_path / name).write_bytes(files[name])
    return tmp_path / name


def test_a_model_and_a_published_name(hub, model, tmp_path):
    assert srzoo.push_to_hub(model, "me/mine", private=True) == f"{hub.address}/me/mine"
    assert hub.private == {"me/mine": True}
    push_to_hub(model, "me/mine", message="again")  # to a repository that exists
    assert len(hub.commits) == 2
    folder = tmp_path / "folder"
    folder.mkdir()
    write_repository("srnet_lite0_camvid", "me/street", folder)
    card = (folder / "README.md").read_text()
    info = srzoo.model_info("srnet_lite0_camvid")
    assert f"{info.metrics['figures']['mIoU']:.2%}" in card
    assert all(line in card for line in info.licence) and all(name in card for name in info.classes)


def test_the_header_of_the_card_is_read_by_the_hub_s_library(file, model, tmp_path):
    from huggingface_hub import ModelCard

    folder = tmp_path / "folder"
    folder.mkdir()
    write_repository(file, "me/street", folder, receipts_of(file, model.config.classes, tmp_path))
    data = ModelCard.load(folder / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.license) == ("srzoo", "image-segmentation", "other")
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("mean_iou", 50.0, "val")


def test_names_of_classes_are_no_markdown(model, tmp_path):
    names = ("a|b", "[x](http://evil) <img src=x> ![y](z)", "```\n# c`".replace("\n", ""))
    model.reconfigure(labels=LabelSet(names, ((1, 2, 3), (250, 0, 9), (0, 0, 0))))
    folder = tmp_path / "folder"
    folder.mkdir()
    write_repository(model, "me/street", folder)
    card = (folder / "README.md").read_text()
    rows = [line for line in card.splitlines() if re.match(r"\| \d \|", line)]
    assert [row.count("|") for row in rows] == [4, 4, 4]
    assert "<img" not in card and "](http://evil" not in card and "`#fa0009`" in rows[1]


def test_to_a_folder_without_a_network(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("socket.create_connection", None)
    assert main(["push", str(file), "me/street", "--to", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "README.md",
        "classes.png",
        "model.safetensors",
    ]
    assert main(["push", str(file), "me/street", "--to", str(tmp_path / "new")]) == 2
    assert "new has files in it" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "other"):  # nothing half-written, and the folder can be named again
        for failing in (["--image", str(tmp_path / "none.png")], ["--receipt", str(tmp_path / "none.json")]):
            assert main(["push", str(file), "me/street", "--to", str(tmp_path / folder), *failing]) == 2
            assert "none." in capsys.readouterr().err
    assert not list((tmp_path / "empty").iterdir()) and not (tmp_path / "other").exists()


def test_errors_are_one_line(hub, file, model, tmp_path, monkeypatch, capsys):
    other = receipts_of(file, model.config.classes, tmp_path, weights_sha256="0" * 64)
    (tmp_path / "text.safetensors").write_text("no")
    for arguments, found in {
        (str(tmp_path / "missing.safetensors"), "me/street"): "missing.safetensors",
        (str(tmp_path / "text.safetensors"), "me/street"): "text.safetensors",
        (str(file), "street"): "owner/name",
        (str(file), "me/street@v1"): "owner/name",
        (str(file), "me/street", "--receipt", str(other)): "no receipt of these weights",
        (str(file), "me/street", "--receipt", str(tmp_path / "none.json")): "none.json",
        (str(file), "me/street", "--image", str(tmp_path / "none.png")): "none.png",
    }.items():
        assert main(["push", *arguments]) == 2
        assert found in said(capsys)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main(["push", str(file), "me/street"]) == 2
    assert "HF_TOKEN" in said(capsys)
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(file), "me/street"]) == 2
    assert "hf auth login" in said(capsys)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    use_hub(monkeypatch, "http://127.0.0.1:9")
    assert main(["push", str(file), "me/street"]) == 2
    assert "cannot be reached" in said(capsys)
    assert not hub.commits and not hub.private


def said(capsys) -> str:
    """The error, apart from the warning that the file names a folder."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "secret" not in line]
    return line


def test_no_host_of_a_hub_is_named(request):
    for path in Path(request.config.rootpath, "srzoo").rglob("*.py"):
        assert "huggingface.co" not in path.read_text(), path
