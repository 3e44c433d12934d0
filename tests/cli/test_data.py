import re
import shlex

import pytest

from srzoo.cli import main

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val")

ROWS = [0, 1, 2, 1, 0, 255, 2]


def test_valid_dataset(write_pairs, capsys):
    root = write_pairs(*[ROWS] * 3)
    (root / "train.txt").write_text("f0\nf1\n")
    (root / "val.txt").write_text("f2\n")
    (root / "classes.txt").write_text("soil\ncrop\nweed\n")
    assert main(["data", "check", str(root), "--workers", "0"]) == 0
    printed = capsys.readouterr().out
    assert re.search("^format  folder,.* --data.format NAME", printed)
    assert "train   2 images, 11x7" in printed
    assert re.search(r"  1  crop   1 +28.57%  28.57%", printed)
    assert re.search(r"255  void   255 +14.29%  14.29%", printed)
    assert "--num_classes" not in printed  # there are names
    assert "  --semantic.class_weights 1.000 1.000 1.000" in printed
    assert "error" not in printed


def test_invalid_dataset_has_status_2_and_the_proposed_id_map_fixes_it(write_pairs, capsys):
    root = write_pairs(*[[(255, 0, 0), (0, 0, 0), (0, 0, 255)]] * 3)
    assert main(["data", "check", str(root), "--workers", "0"]) == 2
    printed = capsys.readouterr().out
    assert re.search("error: .*RGB.* #000000, #0000ff, #ff0000", printed)
    (line,) = [line for line in printed.splitlines() if "--data.id_map" in line]
    options = shlex.split(line)
    assert "  --num_classes 3\n" in printed
    assert options == ["--data.id_map", "{'#000000': 0, '#0000ff': 1, '#ff0000': 2}"]
    assert (
        main(["data", "check", str(root), *options, "--num_classes", "3", "--format", "folder", "--workers", "2"]) == 0
    )
    assert "format  folder\n" in capsys.readouterr().out


def test_values_without_a_class_have_a_share(write_pairs, capsys):
    root = write_pairs(*[[0, 0, 1, 1, 1, 7, 7, 7, 7, 2]] * 3)
    assert main(["data", "check", str(root), "--num_classes", "3", "--workers", "0"]) == 2
    printed = capsys.readouterr().out
    assert re.search(r"  0  class 0 +0 +20.00%  20.00%", printed)
    assert re.search(r"  -  not in the id map  7 +40.00%  40.00%", printed)


def test_list_of_problems_is_limited(write_pairs, capsys, monkeypatch):
    root = write_pairs(*[[0, 1]] * 5)
    for path in (root / "masks").iterdir():
        path.write_bytes(b"")
    monkeypatch.setattr("srzoo.cli.data._SHOWN", 2)
    assert main(["data", "check", str(root), "--workers", "0"]) == 2
    printed = capsys.readouterr().out
    assert printed.count("the file is empty") == 2
    assert "and 3 more" in printed


def test_missing_folder(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "gone")]) == 2
    assert "/gone" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [("{0: ", "--data.id_map.*'{0: '"), ("5", "{0: 255, 1: 0}")])
def test_invalid_id_map(write_pairs, text, message, capsys):
    root = write_pairs([0, 1], [0, 1])
    try:
        status = main(["data", "check", str(root), "--data.id_map", text])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert re.search(message, capsys.readouterr().err)
