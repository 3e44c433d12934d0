import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import srzoo
from srzoo.cli import main
from srzoo.cli.outputs import unique_stems
from srzoo.cli.segment import find_images


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_image(examples, out, capsys):
    assert main(["segment", str(examples / "street.png"), "--out", str(out)]) == 0
    assert files(out) == ["street_labels.png", "street_overlay.jpg"]
    with Image.open(out / "street_labels.png") as labels, Image.open(out / "street_overlay.jpg") as overlay:
        assert labels.size == overlay.size == (480, 360)
        assert labels.mode == "P"
        assert np.asarray(labels).max() <= 10
    printed = capsys.readouterr().out
    assert "street_labels.png" in printed
    assert "road" in printed
    assert "%" in printed


def test_folder_glob_and_file_give_each_image_once(examples, out, capsys):
    paths = [str(examples), str(examples / "s*.png"), str(examples / "street.png")]
    assert main(["segment", *paths, "--out", str(out)]) == 0
    assert len(files(out)) == 6


def test_results_in_the_input_folder_are_skipped(examples, tmp_path):
    shutil.copy(examples / "street.png", tmp_path)
    for _ in range(2):
        assert main(["segment", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert files(tmp_path) == ["street.png", "street_labels.png", "street_overlay.jpg"]


def test_equal_names_do_not_overwrite_each_other():
    stems = unique_stems(["a/x.png", "b/x.png", "b/X.jpg", "http://h/x.png?v=1", "a/y.png"])
    assert list(stems.values()) == ["x", "x-2", "X-3", "x-4", "y"]


def test_invalid_files_do_not_stop_the_others(examples, tmp_path, out, capsys):
    folder = tmp_path / "batch"
    folder.mkdir()
    whole = (examples / "street.png").read_bytes()
    (folder / "a_truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b_empty.png").touch()
    (folder / "c_text.png").write_text("I am no picture")
    shutil.copy(examples / "street.png", folder / "d_good.png")
    assert (
        main(["segment", str(folder), str(tmp_path / "gone.png"), str(tmp_path / "*.nothing"), "--out", str(out)]) == 2
    )
    assert files(out) == ["d_good_labels.png", "d_good_overlay.jpg"]
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    for name in ("a_truncated.png", "b_empty.png", "c_text.png", "gone.png", "*.nothing"):
        assert sum(name in line for line in lines) == 1
    assert re.search(r"\b5 of 6\b", lines[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "srnet_lite_camvid"], "'srnet_lite_camvid'.*'srnet_lite0_camvid'"),
        (["--model", "srnet_r50_camvid"], "'srnet_r50_camvid'.*srnet_lite0_camvid"),
        (["--model", "gone.safetensors"], r"gone\.safetensors"),
        (["--device", "cuda:99"], "'cuda:99'.*'cpu'"),
        (["--tile", "100"], "tile=100 .* 64 .* 16"),
    ],
)
def test_invalid_arguments_are_one_line_of_error(arguments, message, examples, out, capsys):
    assert main(["segment", str(examples / "street.png"), "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error)
    assert len(error.splitlines()) == 1
    assert files(out) == []


def test_damaged_weights(examples, out, tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(os.urandom(100))
    command = ["segment", str(examples / "street.png"), "--out", str(out), "--model", str(tmp_path / "bad.safetensors")]
    assert main(command) == 2
    assert "bad.safetensors" in capsys.readouterr().err


def test_output_that_is_a_file(examples, tmp_path, capsys):
    (tmp_path / "taken").touch()
    assert main(["segment", str(examples / "street.png"), "--out", str(tmp_path / "taken")]) == 2
    assert re.search("taken'.*--out", capsys.readouterr().err)
    assert main(["segment", str(examples / "street.png"), "--out", "/proc/nowhere"]) == 2
    assert re.search("'/proc/nowhere'.*--out", capsys.readouterr().err)


def test_failed_write_leaves_no_file(examples, out, capsys, monkeypatch):
    def fail(self, path, *args, **kwargs):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert main(["segment", str(examples / "street.png"), "--out", str(out)]) == 2
    assert files(out) == []
    assert "street.png: " in (error := capsys.readouterr().err)
    assert "No space left on device" in error


def test_uppercase_suffix_and_empty_folder(tmp_path):
    (tmp_path / "A.JPG").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    sources, failures = find_images([str(tmp_path), str(tmp_path / "empty")])
    assert sources == [str(tmp_path / "A.JPG")]
    assert len(failures) == 1
    assert "empty: " in failures[0] and ".jpg" in failures[0]


def test_tiles(examples, out):
    """Tiles of an image no larger than the usual input have nearly the same labels."""
    labels = []
    for options in ([], ["--tile", "256"]):
        assert main(["segment", str(examples / "street.png"), "--out", str(out), *options]) == 0
        with Image.open(out / "street_labels.png") as image:
            labels.append(np.asarray(image))
    assert 0.99 < (labels[0] == labels[1]).mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize(("options", "limit"), [([], 2600), (["--tile", "1024"], 2000)], ids=["whole", "tiles"])
def test_memory_for_a_huge_image(options, limit, run_python, tmp_path):
    if options:  # the memory is that of the pictures; a network of a few channels has the tiles done in seconds
        network = {"backbone": "test_efficientnet", "num_classes": 11, "channels": 32, "output_stride": 16}
        srzoo.save_model(srzoo.create_model("srnet", **network), tmp_path / "small.safetensors")
        options = [*options, "--model", "small.safetensors"]
    Image.new("L", (12000, 9000), 90).save(tmp_path / "huge.png")
    code = (
        "import sys; from srzoo.cli import main\n"
        f"status = main(['segment', 'huge.png', '--out', 'out', *{options}])\n"
        "print(int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024)\n"
        "sys.exit(status)"
    )
    result = run_python("-c", code, timeout=1800)
    assert result.returncode == 0, result.stderr
    # VmHWM, since the ru_maxrss of a child begins with that of its parent.
    # MiB; torch takes 770, the decoded image and its overlay 412 each (Pillow has 4 bytes for a pixel), the labels 103.
    assert int(result.stdout.split()[-1]) < limit
    with Image.open(tmp_path / "out" / "huge_labels.png") as labels:
        assert labels.size == (12000, 9000)


@pytest.mark.parametrize("error", [RuntimeError("of any kind"), TypeError("x"), AssertionError(), MemoryError()])
def test_whatever_fails_the_rest_goes_on(error, examples, tmp_path, out, capsys, monkeypatch):
    from srzoo.tasks.semantic.result import Segmentation

    save = Segmentation.save

    def fail(self, base):
        if base.name == "crossing":
            raise error
        return save(self, base)

    monkeypatch.setattr(Segmentation, "save", fail)
    assert main(["segment", str(examples), "--out", str(out)]) == 2
    assert len(files(out)) == 4
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("srzoo:")]
    assert "crossing.png: " in lines[0] and "1 of 3" in lines[1] and len(lines) == 2


def test_names_reach_the_terminal_without_control_characters(examples, tmp_path, out, capsys):
    names = ["a\x1b]0;title\x07.png", "b\nsrzoo: forged.png", "c\x1b[31m.png"]
    for name in names[:2]:
        shutil.copy(examples / "street.png", tmp_path / name)
    (tmp_path / names[2]).write_text("no image")
    assert main(["segment", *(str(tmp_path / name) for name in names), "--out", str(out)]) == 2
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed and "\x07" not in printed and "\nsrzoo: forged" not in printed
    assert "\\x1b]0;title" in printed and "\\x1b[31m.png: not an image" in printed
    assert len(files(out)) == 4


def test_results_get_names_that_a_file_may_have():
    stems = unique_stems(["é" * 120 + ".png", "a?b.png", "http://h/a%2Fb%00.png?x", "http://h/", "HTTP://h/x.png?v"])
    assert list(stems.values()) == ["é" * 100, "a?b", "b\\x00", "image", "x"]
