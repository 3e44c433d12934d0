import errno
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import srzoo
import srzoo.files
from srzoo.cli import main
from srzoo.data.opening import open_dataset
from srzoo.evaluate import evaluation

MODEL = ["eval", "--model", "srnet_lite0_camvid", "--data.root"]


def measurements(path):
    return json.loads(path.read_text())


def figure(receipt, name="mIoU"):
    return receipt["figures"][name]


def test_receipt_collects_measurements(small_camvid, tmp_path, capsys):
    receipt = tmp_path / "r.json"
    for options in ([], ["--scales", "0.5", "1", "--flip"], []):
        assert main([*MODEL, str(small_camvid), "--receipt", str(receipt), *options]) == 0
    single, several = measurements(receipt)
    assert single["images"] == several["images"] == 1
    assert 0.5 < figure(single) <= 1
    assert 0.5 < figure(single, "boundary F1") <= 1
    command = "srzoo eval --model srnet_lite0_camvid --data.format camvid --data.root PATH --split val"
    assert single["command"] == command
    assert several["command"].endswith("--split val --scales 0.5 1.0 --flip")
    assert several["view"]["scales"] == [0.5, 1.0] and several["view"]["flip"] is True
    printed = capsys.readouterr().out
    assert f"mIoU {figure(single):.2%}" in printed and f"mIoU {figure(several):.2%}" in printed
    assert f"{single['by_class']['boundary F1']['car']:.2%}" in printed


def test_worst_images_are_drawn(small_camvid, tmp_path):
    out = tmp_path / "pictures"
    assert main([*MODEL, str(small_camvid), "--split", "train", "--worst", "1", "--out", str(out)]) == 0
    (path,) = out.iterdir()
    miou, name = path.stem.removeprefix("01_miou").split("_")
    assert 50 < float(miou) < 100
    with Image.open(path) as picture, Image.open(small_camvid / "train" / f"{name}.png") as frame:
        rows = (np.asarray(picture)[:, :480] != np.asarray(frame.convert("RGB"))[0]).any((1, 2))
        line = int(np.flatnonzero(~rows)[0])  # above each of the four pictures its caption, below them the legend
        assert picture.width == 2 * 480 and 12 < line < 40 and picture.height > 2 * (360 + line) + 12
        np.testing.assert_array_equal(np.asarray(picture)[line : line + 360, :480], np.asarray(frame.convert("RGB")))
        assert np.asarray(picture)[:line, :480].max() == 255


def test_exported_ids_have_the_accuracy_of_the_receipt(small_camvid, tmp_path):
    folder, receipt = tmp_path / "export", tmp_path / "r.json"
    assert main([*MODEL, str(small_camvid), "--export", str(folder), "--receipt", str(receipt)]) == 0
    (path,) = folder.iterdir()
    assert path.name == "cyclist.png"
    with Image.open(path) as ids, Image.open(small_camvid / "valannot" / "cyclist.png") as annotation:
        assert ids.mode == "L"
        ids, target = np.asarray(ids), np.asarray(annotation)
    assert (ids == target)[target != 11].mean() == pytest.approx(figure(measurements(receipt)[0], "pixel accuracy"))


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_export_does_not_overwrite_the_dataset(small_camvid, folder, capsys):
    before = (small_camvid / folder / "cyclist.png").read_bytes()
    assert main([*MODEL, str(small_camvid), "--export", str(small_camvid / folder)]) == 2
    assert f"{folder}/cyclist.png " in capsys.readouterr().err
    assert (small_camvid / folder / "cyclist.png").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "name"), [("--export", "e/cyclist.png"), ("--confusion", "c.png"), ("--confusion", "val/cyclist.png")]
)
def test_files_of_others_are_kept(option, name, small_camvid, tiny, capsys):
    """The evaluation is refused before it starts; what it wrote itself is replaced."""
    path = small_camvid / name
    target = path.parent if option == "--export" else path
    command = ["eval", "--model", tiny, "--data.root", str(small_camvid), option, str(target)]
    if not path.exists():
        assert main(command) == main(command) == 0
        with Image.open(path) as picture:
            picture.convert("RGB").save(path, pnginfo=None)
    before = path.read_bytes()
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr()
    assert name in said.err and len(said.err.splitlines()) == 1 and not said.out
    assert path.read_bytes() == before


def test_a_receipt_is_of_the_annotations_that_were_evaluated(small_camvid, tiny, tmp_path, capsys, monkeypatch):
    """One that changed meanwhile made it a receipt of others, and one that was gone cost the figures."""
    predictions, mask = evaluation.predictions, small_camvid / "valannot" / "cyclist.png"
    before = open_dataset(small_camvid, "val").digest()

    def meanwhile(*arguments, **options):
        yield from predictions(*arguments, **options)
        mask.unlink()

    monkeypatch.setattr(evaluation, "predictions", meanwhile)
    receipt = tmp_path / "r.json"
    assert main(["eval", "--model", tiny, "--data.root", str(small_camvid), "--receipt", str(receipt)]) == 0
    assert "mIoU" in capsys.readouterr().out
    assert [each["split_sha256"] for each in json.loads(receipt.read_text())] == [before]


def test_split_without_labels_is_exported_without_figures(small_camvid, tmp_path, capsys):
    Image.new("L", (480, 360), 11).save(small_camvid / "valannot" / "cyclist.png")
    command = [*MODEL, str(small_camvid), "--export", str(tmp_path / "e"), "--receipt", str(tmp_path / "r.json")]
    assert main(command) == 0
    assert (tmp_path / "e" / "cyclist.png").is_file()
    assert not (tmp_path / "r.json").exists()
    assert re.search("val .*labelled", capsys.readouterr().out)


def test_two_processes_count_every_image_once(small_camvid, tmp_path, run_python):
    """Three images in two processes and in one."""
    for folder in ("", "annot"):
        shutil.copy(small_camvid / f"val{folder}" / "cyclist.png", small_camvid / f"train{folder}")
    command = [*MODEL, str(small_camvid), "--split", "train", "--worst", "3"]
    assert main([*command, "--receipt", str(tmp_path / "one.json"), "--out", str(tmp_path / "one")]) == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "srzoo"]
    result = run_python(*launch, *command, "--receipt", "two.json", "--out", "two", "--device", "cpu")
    assert result.returncode == 0, result.stderr
    one, two = measurements(tmp_path / "one.json"), measurements(tmp_path / "two.json")
    assert one[0]["images"] == two[0]["images"] == 3
    assert two[0]["facts"] == one[0]["facts"]
    assert two[0]["figures"] == pytest.approx(one[0]["figures"], abs=1e-6)
    for name, values in one[0]["by_class"].items():
        assert two[0]["by_class"][name] == pytest.approx(values, abs=1e-6)
    assert [path.name for path in sorted((tmp_path / "two").iterdir())] == [
        path.name for path in sorted((tmp_path / "one").iterdir())
    ]
    assert result.stdout.count("mIoU") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "512", "--tile", "512"], "window=512.*tile=512"),
        (["--scales", "0"], r"scales .* 16.* \(0\.0,\)"),
        (["--tile", "100"], "tile=100 .* 64 .* 16"),
        (["--split", "test"], "camvid/test"),
        (["--split", "trainannot"], "'trainannot'"),
        (["--confusion", "c.jpg"], r"c\.jpg .*\.png"),
        (["--worst", "-1"], "0 or more.* -1"),
        (["--receipt", "{root}/val/cyclist.png"], r"val/cyclist\.png .*--receipt"),
        (["--export", "/proc/nowhere"], "/proc/nowhere.*--export"),
        (["--export", "{root}/ids.json"], r"/ids\.json: .* folder.*/ids$"),
    ],
)
def test_invalid_options_are_one_line_of_error(options, message, small_camvid, capsys):
    assert main([*MODEL, str(small_camvid), *(option.format(root=small_camvid) for option in options)]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and len(error.splitlines()) == 1


def test_black_and_white_masks_need_an_id_map(write_pairs, tmp_path, capsys):
    """By default 255 is void, so a model that predicts 0 everywhere would score 100 %."""
    root = write_pairs(*[[0] * 20 + [255] * 20] * 2)
    (root / "train.txt").write_text("f0")
    (root / "val.txt").write_text("f1")
    model = tmp_path / "tiny.safetensors"
    srzoo.save_model(srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=2), model)
    command = ["eval", "--model", str(model), "--data.root", str(root), "--receipt", str(tmp_path / "r.json")]
    assert main(command) == 2
    assert " 0 and 255 " in capsys.readouterr().err
    assert main([*command, "--data.id_map", "{0: 0, 255: 1}"]) == 0
    (one,) = measurements(tmp_path / "r.json")
    assert one["facts"]["pixels"] == 40 * 11


def test_split_without_boundaries_has_no_boundary_f1(write_pairs, tmp_path, capsys):
    root = write_pairs(*[[1] * 40] * 2)
    (root / "train.txt").write_text("f0")
    (root / "val.txt").write_text("f1")
    model = srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=2)
    for parameter in model.classifier.parameters():
        torch.nn.init.zeros_(parameter)
    srzoo.save_model(model, tmp_path / "zero.safetensors")
    command = ["eval", "--model", str(tmp_path / "zero.safetensors"), "--data.root", str(root)]
    assert main([*command, "--receipt", str(tmp_path / "r.json")]) == 0
    assert "NaN" not in (tmp_path / "r.json").read_text()
    assert figure(measurements(tmp_path / "r.json")[0], "boundary F1") is None
    assert "nan" not in capsys.readouterr().out


@pytest.mark.filterwarnings("default:the classes of data and model differ")
def test_images_with_equal_names_do_not_overwrite_each_other(tmp_path, write_image):
    annotations = tmp_path / "data" / "annotations" / "val.json"
    annotations.parent.mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i}/x.jpg", "width": 53, "height": 40} for i in range(2)]
    for image in images:
        write_image(tmp_path / "data" / "val" / image["file_name"], 40, 53)
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "weed"}]}
    annotations.write_text(json.dumps(content))
    model, out = tmp_path / "tiny.safetensors", tmp_path / "out"
    srzoo.save_model(srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=2), model)
    command = ["eval", "--model", str(model), "--data.root", str(tmp_path / "data"), "--export", str(out)]
    assert main([*command, "--worst", "2", "--out", str(tmp_path / "worst")]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["x-2.png", "x.png"]
    assert len({path.name.split("_")[2] for path in (tmp_path / "worst").iterdir()}) == 2


def test_help_lists_the_options_of_each_task_once_with_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    text = " ".join(capsys.readouterr().out.partition("\noptions:")[2].split())
    _, semantic, detectors, panoptic = re.split("semantic models:|instance and panoptic models:|panoptic models:", text)
    assert re.search(r"--scales .*\(default: 1\.0\).*--flip .*\(default: false\).*--halo .*\(default: 128\)", semantic)
    assert re.search(r"--score .*\(default: 0\.05 for instance, 0\.5 for panoptic\)", detectors)
    assert re.search(r"--detections .*\(default: 100\)", detectors)
    assert re.search(r"--overlap .*\(default: 0\.5\).*--stuff_area .*\(default: 4096\)", panoptic)
    assert all(text.count(f"--{name} ") == 1 for name in ("score", "detections", "scales", "overlap"))


@pytest.fixture
def tiny(tmp_path):
    """A file of a small model with random weights for the classes of CamVid."""
    options = {"backbone": "test_efficientnet", "channels": 32, "output_stride": 16}
    model = srzoo.create_model("srnet", classes=srzoo.model_info("srnet_lite0_camvid").classes, **options)
    model.reconfigure(transform=model.config.transform.with_short_side(64))
    srzoo.save_model(model, tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


def test_a_class_left_out_and_the_confusion_matrix(small_camvid, tmp_path, tiny, capsys):
    command = ["eval", "--model", tiny, "--data.root", str(small_camvid), "--receipt", str(tmp_path / "r.json")]
    assert main(command) == 0
    assert main([*command, "--leave_out", "sky", "void-1", "--confusion", str(tmp_path / "c.png")]) == 2
    assert re.search(r"leave_out: no class 'void-1'.*sky", capsys.readouterr().err)
    assert main([*command, "--leave_out", "sky", "--confusion", str(tmp_path / "pictures" / "c.png")]) == 0
    printed = capsys.readouterr().out
    assert "precision" in printed and "recall" in printed and "mean Dice" in printed
    with Image.open(tmp_path / "pictures" / "c.png") as picture:
        assert picture.format == "PNG" and picture.width > 11 * 40
    whole, part = measurements(tmp_path / "r.json")
    ious = [value for name, value in part["by_class"]["IoU"].items() if name != "sky" and value is not None]
    assert figure(part) == pytest.approx(np.mean(ious))
    assert whole["by_class"] == part["by_class"]
    assert "means without sky" in part["protocol"]
    assert part["command"].endswith("--leave_out sky")


def test_figures_as_json(small_camvid, tmp_path, tiny, capsys):
    command = ["eval", "--model", tiny, "--data.root", str(small_camvid), "--json"]
    pictures = ["--confusion", str(tmp_path / "c.png"), "--worst", "1", "--out", str(tmp_path / "worst")]
    assert main([*command, *pictures]) == 0
    said = capsys.readouterr()
    assert 0 <= figure(json.loads(said.out)) <= 1
    assert "c.png" in said.err


@pytest.mark.parametrize("full", [["r.json"], ["c.png"], ["cyclist.png"], ["01_", "r.json"]])
def test_a_full_disk_costs_no_figures(full, small_camvid, tmp_path, tiny, capsys, monkeypatch):
    """Only the output that cannot be written is missing; each has a line of error."""

    def sync(path):
        if path.name.startswith(tuple(full)):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(srzoo.files, "_sync", sync)
    out = tmp_path / "out"
    options = {"receipt": "r.json", "confusion": "c.png", "export": "e", "out": "w", "worst": "1"}
    words = [word for name, value in options.items() for word in (f"--{name}", value if value == "1" else out / value)]
    assert main(["eval", "--model", tiny, "--data.root", str(small_camvid), *map(str, words)]) == 2
    said = capsys.readouterr()
    assert "mIoU" in said.out and len(said.err.splitlines()) == len(full)
    written = [path.name for path in out.rglob("*") if path.is_file()]
    assert len(written) == 4 - len(full) and not any(name.startswith(tuple(full)) for name in written)
    assert all(re.search(rf"No space.*{name}", said.err) for name in full)


@pytest.mark.filterwarnings("ignore:.*no split for val")
def test_data_without_names_is_compared_by_number(write_pairs, tiny):
    root = write_pairs(*[[0, 1] * 20] * 6)
    with pytest.warns(UserWarning, match="names no classes.*0 is 'sky', .*classes.txt"):
        srzoo.evaluate(tiny, root, progress=False)


def test_confusion_is_for_classes_of_pixels(tmp_path, capsys, facade):
    options = ["--model", "mask_rcnn_lite0_facade", "--data.root", str(facade), "--confusion", str(tmp_path / "c.png")]
    assert main(["eval", *options]) == 2
