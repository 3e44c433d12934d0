from pathlib import Path

import pytest

from srzoo.cli import main
from srzoo.cli.outputs import output_folder, result_bases
from srzoo.tasks.saving import is_result_of_another, write


@pytest.mark.parametrize(
    "command",
    [
        "segment IMAGE --model no_model --out a/b/c",
        "segment no.png --out a/b/c",
        "export no_model --out a/b/x.onnx",
        "eval --model no_model --data.root . --receipt a/b/x.json",
        "push no.safetensors owner/name --to a/b/c",
        "train --model srnet_lite0 --start no_start --data.root DATA --out a/b/c",
    ],
)
def test_a_command_that_fails_leaves_no_folder(command, examples, small_camvid, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [{"IMAGE": str(examples / "street.png"), "DATA": str(small_camvid)}.get(w, w) for w in command.split()]
    assert main(words) == 2
    assert "no" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_folders_that_were_there_or_have_files_stay(tmp_path):
    (tmp_path / "a").mkdir()
    with output_folder(tmp_path / "a" / "b" / "c"):
        assert (tmp_path / "a" / "b" / "c").is_dir()
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]
    with pytest.raises(KeyError), output_folder(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "b" / "kept").touch()
        raise KeyError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "kept"]


def test_of_several_processes_the_main_one_removes_the_folder(tmp_path, monkeypatch):
    """The others end earlier, and it writes last."""
    monkeypatch.setenv("RANK", "1")
    with output_folder(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()


def test_equal_names_are_not_tried_again_for_each_image(tmp_path, monkeypatch):
    """Six hundred of them beside as many results of other images took 40 s."""
    for number in ("", "-2", "-3"):
        write(tmp_path / f"x{number}", {"_coco.json": dict}, "x.jpg")
    tried = []
    monkeypatch.setattr(
        "srzoo.cli.outputs.is_result_of_another", lambda *each: tried.append(each) or is_result_of_another(*each)
    )
    images = dict.fromkeys(["a/x.png", "b/x.png", "a/x.jpg", "c/x.png", "b/x.jpg"], "")
    bases = result_bases(images, tmp_path, ["_coco.json"])
    assert [path.name for path in bases.values()] == ["x-4", "x-5", "x", "x-6", "x-2"]
    assert len(tried) == 8


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(36, "File name too long")])
def test_an_earlier_result_that_cannot_be_read_is_of_its_image_alone(error, tmp_path, monkeypatch):
    def opened(path, *args, **options):
        raise error

    write(tmp_path / "x", {"_coco.json": dict}, "x.jpg")
    monkeypatch.setattr(Path, "open", opened)
    bases = result_bases({"x.png": "", "y.png": ""}, tmp_path, ["_coco.json"])
    assert [path.name for path in bases.values()] == ["x", "y"]
    with pytest.raises(OSError, match=error.strerror):
        write(bases["x.png"], {"_coco.json": dict}, "x.png")
