import copy
import dataclasses
import json
import pickle
import re
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import srzoo
from srzoo.cli import main
from srzoo.export.network import KEY, ExportedNetwork, Form, metadata
from srzoo.export.onnx_model import OnnxModel


@pytest.fixture(scope="module")
def lite0():
    return srzoo.create_model("srnet_lite0_camvid", pretrained=True).eval()


@pytest.fixture(scope="module")
def exported(lite0, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "lite0.onnx"
    srzoo.export_onnx(lite0, path, batch=None)
    return path


def run(path, images):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})


def photograph(model, examples, size):
    image = Image.open(examples / "street.png").convert("RGB").resize(size[::-1])
    return model.config.transform.normalize(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])


@pytest.mark.parametrize(("count", "size"), [(1, (288, 400)), (1, (203, 333)), (3, (97, 65))])
def test_logits_and_labels_at_sizes_it_was_not_exported_at(lite0, exported, examples, count, size):
    """On and off the stride: the sides are rounded up as in PyTorch."""
    x = photograph(lite0, examples, size).repeat(count, 1, 1, 1)
    (found,) = run(exported, x)
    with torch.inference_mode():
        expected = lite0(x).numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.999


def test_standard_operators_and_a_file_that_explains_itself(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} <= {""} and not model.functions
    assert [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "",
        "height",
        "width",
    ]
    known = {each.key: each.value for each in model.metadata_props}
    config = srzoo.create_model("srnet_lite0_camvid").config
    assert tuple(json.loads(known["classes"])) == config.classes
    assert json.loads(known["mean"]) == list(config.transform.mean) and "CamVid" in known["licence"]
    assert json.loads(known[KEY])["form"]["images"] == "float"


def test_segmenter_runs_the_file(lite0, exported, examples, tmp_path, capsys):
    image = examples / "street.png"
    expected = srzoo.Segmenter(lite0)(image)
    segmenter = srzoo.Segmenter(exported)
    found = segmenter(image)
    assert (found.labels == expected.labels).mean() > 0.999 and found.classes == expected.classes
    # The file's logits have been resized to the network's input before they are resized to the image.
    assert np.abs(found.probabilities() - expected.probabilities()).mean() < 1e-3
    flipped = srzoo.Segmenter(str(exported), scales=(0.75, 1.0), flip=True)(image)
    reference = srzoo.Segmenter(lite0, scales=(0.75, 1.0), flip=True)(image)
    assert (flipped.labels == reference.labels).mean() > 0.998
    with pytest.raises(ValueError, match="tile"):
        srzoo.Segmenter(exported, tile=256)
    assert main(["segment", str(image), "--model", str(exported), "--out", str(tmp_path)]) == 0
    assert (np.asarray(Image.open(tmp_path / "street_labels.png")) == found.labels).all()


def test_a_file_s_segmenter_goes_to_another_process(exported, examples):
    segmenter = srzoo.Segmenter(exported)
    transform = dataclasses.replace(segmenter.model.config.transform, short_side=64)
    segmenter.model.reconfigure(transform=transform)
    there = pickle.loads(pickle.dumps(segmenter))
    assert there.model.config == segmenter.model.config
    assert np.array_equal(there(examples / "street.png").labels, segmenter(examples / "street.png").labels)
    assert not there.model.training


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("onnxruntime", ["segment", "{examples}/street.png", "--model", "{exported}"]),
        ("onnxscript", ["export", "srnet_lite0_camvid", "--out", "street.onnx"]),
    ],
)
def test_a_package_that_is_missing_is_told_in_one_line(
    exported, examples, tmp_path, monkeypatch, capsys, missing, command
):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.chdir(tmp_path)
    assert main([each.format(examples=examples, exported=exported) for each in command]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert missing in line and "pip install" in line


def test_info_of_a_file(exported, tmp_path, capsys):
    """A detector's network can be described, although nothing here runs it."""
    assert main(["info", str(exported)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"takes +\(N, 3, H, W\) float32\nreturns +logits\n", printed) and "srzoo segment" in printed
    assert main(["info", str(exported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"][0] == "sky"
    detector = srzoo.create_model("mask_rcnn", backbone="test_efficientnet", num_classes=2, in_channels=4)
    file, path = onnx.load(exported), tmp_path / "d.onnx"
    onnx.helper.set_model_props(file, metadata(detector.config, detector, Form(images="uint8", size=(64, 96))))
    onnx.save(file, path)
    assert main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"task +instance\ntakes +\(1, 64, 96, 4\) uint8\nreturns .*detector", printed)
    assert "srzoo segment" not in printed
    assert main(["info", str(tmp_path / "gone.onnx")]) == 2
    assert "gone.onnx" in capsys.readouterr().err


def test_bytes_to_labels_of_one_size(lite0, examples, tmp_path):
    path = tmp_path / "bytes.onnx"
    srzoo.export_onnx(lite0, path, size=(144, 192), images="uint8", output="labels")
    image = Image.open(examples / "street.png").convert("RGB").resize((192, 144))
    (labels,) = run(path, torch.from_numpy(np.array(image))[None])
    with torch.inference_mode():
        expected = lite0(photograph(lite0, examples, (144, 192))).argmax(1).numpy()
    assert labels.dtype == np.uint8 and (labels == expected).mean() >= 0.999
    result = srzoo.Segmenter(path)(examples / "street.png")
    whole = srzoo.Segmenter(lite0)(examples / "street.png").labels
    assert result.labels.shape == whole.shape and (result.labels == whole).mean() > 0.85


@pytest.mark.slow
def test_eight_bits_and_half(lite0, examples, tmp_path):
    images = sorted(examples.glob("*.png"))
    srzoo.export_onnx(lite0, tmp_path / "int8.onnx", calibrate=images)
    srzoo.export_onnx(lite0, tmp_path / "half.onnx", half=True)
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    sizes = [(tmp_path / name).stat().st_size for name in ("int8.onnx", "half.onnx")]
    assert max(sizes) < 9e6  # of 14.5 MB in float32
    expected = srzoo.Segmenter(lite0)(images[0]).labels
    for name, share in (("int8.onnx", 0.95), ("half.onnx", 0.999)):
        assert (srzoo.Segmenter(tmp_path / name)(images[0]).labels == expected).mean() > share


CONTEXTS = ["none", "sr_released", "nl", "a2", "cgnl", "rcca", "da", "ema", "se", "aspp", "psp"]


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context(context, tmp_path):
    torch.manual_seed(0)
    model = srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=5, context=context, channels=64)
    model.eval()  # few layers: an export takes a time for each
    if context == "psp":
        with pytest.raises(ValueError, match="psp|srnet.*size"):
            srzoo.export_onnx(model, tmp_path / "m.onnx")
        sizes = [(101, 75)]
        network = srzoo.export_onnx(model, tmp_path / "m.onnx", size=sizes[0])
    else:
        network = srzoo.export_onnx(model, tmp_path / "m.onnx")
        is_any = "sides_are_multiples_of" not in network.metadata
        assert is_any == (context != "rcca")
        sizes = [(96, 160), (101, 75) if is_any else (128, 72)]
    for size in sizes:
        x = torch.rand(1, 3, *size)
        (found,) = run(tmp_path / "m.onnx", x)
        with torch.inference_mode():
            expected = model(x).numpy()
        assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("mask_rcnn", {}), ("panoptic_fpn", {"things": (True, True, False)})])
def test_the_network_of_a_detector(name, options, tmp_path):
    torch.manual_seed(0)
    model = srzoo.create_model(name, backbone="test_efficientnet", num_classes=3, context="sr", **options).eval()
    network = srzoo.export_onnx(model, tmp_path / "m.onnx")
    assert network.metadata["sides_are_multiples_of"] == str(model.input_multiple)
    x = torch.rand(1, 3, 128, 160)
    with torch.inference_mode():
        expected = dict(zip(network.output_names, network(x)))
    assert ("semantic" in expected) == ("panoptic" in name) and len(expected) == len(network.output_names)
    for key, value in zip(network.output_names, run(tmp_path / "m.onnx", x)):
        np.testing.assert_allclose(value, expected[key].numpy(), atol=2e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="detector"):
        srzoo.Segmenter(tmp_path / "m.onnx")


def test_no_image_to_calibrate_with_is_told_before_the_export(lite0, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", None)
    for images in ([], iter(())):
        with pytest.raises(ValueError, match="no image to calibrate"):
            srzoo.export_onnx(lite0, tmp_path / "none.onnx", calibrate=images)
    assert not list(tmp_path.iterdir())


def test_bad_forms_and_files(lite0, tmp_path, capsys):
    for form in (
        {"size": (16, 64)},
        {"images": "bytes"},
        {"output": "mask"},
        {"batch": 0},
        {"size": "64x64"},
        {"size": 64},
        {"size": (64.5, 64)},
        {"batch": "2"},
        {"half": True, "calibrate": []},
        {"calibrate": "odd.png"},
    ):
        with pytest.raises(ValueError, match="16x64|bytes|mask|batch|half|64x64|64.5|got 64|odd.png"):
            srzoo.export_onnx(lite0, tmp_path / "m.onnx", **form)
    with pytest.raises(ValueError, match="labels"):
        ExportedNetwork(srzoo.create_model("mask_rcnn_lite0_facade"), Form(output="labels"))
    with pytest.raises(ValueError, match="model from create_model"):
        srzoo.export_onnx(torch.nn.Conv2d(3, 3, 1), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    other = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["x"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [1])],
            [onnx.helper.make_tensor_value_info("y", 1, [1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no onnx")
    for name, words in (("other", "not exported by srzoo"), ("broken", "not an ONNX file"), ("absent", "no file")):
        assert main(["segment", "x.png", "--model", str(tmp_path / f"{name}.onnx"), "--out", str(tmp_path)]) == 2
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            OnnxModel(tmp_path / f"{name}.onnx")
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    for arguments, words in (
        (["--int8"], "--calibrate"),
        (["--size", "12"], "HxW"),
        (["--batch", "x"], "number from 1"),
        (["--out", "m.pt2"], ".onnx"),
        (["--int8", "--calibrate", str(tmp_path / "none")], "no such file"),
        (["--device", "cuda"], "--format aoti"),
        (["--format", "aoti", "--device", "gpu0", "--out", str(tmp_path / "m.pt2")], "device 'gpu0' is not available"),
        (["--out", str(folder)], f"--out {folder} is a folder"),
    ):
        with warnings.catch_warnings():
            try:
                assert main(["export", "srnet_lite0_camvid", *arguments]) == 2
            except SystemExit as end:
                assert end.code == 2
        assert words in capsys.readouterr().err


def test_a_model_in_half_precision(lite0, tmp_path):
    network = srzoo.export_onnx(copy.deepcopy(lite0).half(), tmp_path / "m.onnx", size=(64, 96))
    x = torch.rand(1, 3, 64, 96)
    (found,) = run(tmp_path / "m.onnx", x)
    assert found.dtype == np.float32 and network.form.half is False
    with torch.inference_mode():
        assert (found.argmax(1) == lite0(x).argmax(1).numpy()).mean() > 0.98


@pytest.mark.parametrize(
    "change",
    [
        {"form": 5},
        {"form": {"size": "ab"}},
        {"form": {"size": [64]}},
        {"form": {"size": "absent"}},
        {"form": {"batch": "x"}},
        {"form": {"stride": 1}},
        {"form": {"images": "uint8"}},
        {"form": {"output": "labels"}},
        {"form": {"half": True}},
        {"classes": 5},
        "[" * 100_000,
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_file_that_is_not_what_its_metadata_says(exported, examples, tmp_path, change):
    file = onnx.load(exported)
    (entry,) = (each for each in file.metadata_props if each.key == "srzoo")
    own = json.loads(entry.value)
    if isinstance(change, str):
        entry.value = change
    else:
        if "classes" in change:
            labels = own["config"]["labels"]
            labels.update({key: labels[key][: change["classes"]] for key in ("classes", "palette")})
        elif isinstance(change["form"], dict):
            own["form"].update(change["form"])
            own["form"] = {key: value for key, value in own["form"].items() if value != "absent"}
        else:
            own["form"] = change["form"]
        entry.value = json.dumps(own)
    path = tmp_path / "m.onnx"
    onnx.save(file, path)
    with pytest.raises(ValueError, match="m.onnx") as raised:
        srzoo.Segmenter(path)(examples / "street.png")
    assert "\n" not in str(raised.value)
