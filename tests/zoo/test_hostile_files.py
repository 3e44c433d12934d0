"""Model files, recipes and receipts from a stranger: each is read, or refused in one line with its name."""

import json
import resource
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

import srzoo
from srzoo.evaluate.receipt import add_receipt, read_receipts
from srzoo.recipes.recipe import Recipe, load_recipe
from srzoo.zoo.weights import read_model_file
from tests.hostile import ANYTHING, assert_one_line, changed

SETTINGS = settings(
    max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OPTIONS = {"backbone": "test_efficientnet", "num_classes": 3, "channels": 32, "nodes": 4}
# What timm's `create_model` and its parts take beside the options of an architecture.
TIMMS = ("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "features_only")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return srzoo.create_model("srnet", **OPTIONS)


@pytest.fixture(scope="module")
def header(model) -> dict:
    return json.loads(model.config.to_json())


@pytest.fixture
def write(model, tmp_path):
    """Write a model file with another header, given as JSON or as its values."""

    def write(header) -> Path:
        text = header if isinstance(header, str) else json.dumps(header)
        save_file(model.state_dict(), tmp_path / "m.safetensors", {"srzoo": text})
        return tmp_path / "m.safetensors"

    return write


@SETTINGS
@given(st.data())
def test_any_header_is_read_or_refused(header, write, data):
    path = write(data.draw(changed(header, (*TIMMS, "size_divisor", "things", "long_side", "act_layer"))))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            segmenter = srzoo.Segmenter(path)
        segmenter(np.zeros((32, 48, 3), np.uint8)).overlay()
    except ValueError as error:
        assert_one_line(error, str(path))


def _with(header: dict, place: str, value) -> dict:
    copied = json.loads(json.dumps(header))
    *path, last = place.split(".")
    part = copied
    for key in path:
        part = part[key]
    part[last] = value
    return copied


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("options.backbone_options", {"checkpoint_path": "/etc/passwd"}, "'checkpoint_path' is no option"),
        ("options.backbone_options", {"pretrained_cfg": {"file": "/etc/passwd"}}, "'pretrained_cfg' is no option"),
        ("options.backbone_options", {"cache_dir": "/tmp"}, "'cache_dir' is no option"),
        ("options.backbone_options", {"act_layer": "evil"}, "evil"),
        ("options.channels", 20000, "fit this model"),
        ("options.channels", 10**12, r"options\.channels must be a whole number from .* 1000000000000"),
        ("options.size_divisor", 16384, "size_divisor must be at most 512, got 16384"),
        ("options.size_divisor", 2**63, r"options\.size_divisor .*9223372036854775808"),
        ("transform.short_side", 40000, r"transform\.short_side .* 1 to 4096, got 40000"),
        ("transform.short_side", None, r"transform\.short_side .* 1 to 4096, got None"),
        ("transform.short_side", True, r"transform\.short_side .* 1 to 4096, got True"),
        ("transform.max_pixels", 10**18, r"transform\.max_pixels .* 1024 to 67108864, got 10{18}"),
        ("transform.max_pixels", -1, r"transform\.max_pixels .* 1024 to 67108864, got -1"),
        ("transform.mean", 0.5, r"transform\.mean .*list of 1 to 64 values, got 0\.5"),
        ("transform.std", [0.5], "mean for 3 channels, and std for 1"),
        ("transform.std", [0, 1, 1], r"transform\.std\[0\] .* from 0\.0001 to 10000, got 0"),
        ("labels.palette", [[0, 0, 0]], "3 classes but 1 colours"),
        ("labels.palette", [[0, 0, 300]] * 3, r"labels\.palette\[0\]\[2\] .* 0 to 255, got 300"),
        ("labels.classes", ["a", "b", "a"], r"labels\.classes\[2\] must be another name.*'a'"),
        ("labels.classes", ["a", "b", "\x1b[31m"], r"labels\.classes\[2\] .*control characters, got '\\x1b\[31m'"),
        ("labels.classes", ["a", "b", "x" * 3_000_000], r"labels\.classes\[2\] .* 1 to 256 characters"),
        ("labels.classes", ["a", "b", "\ud800"], r"labels\.classes\[2\] .*got '\\ud800'"),
        ("name", None, "name must be a text"),
        ("options.backbone_options", 1, "backbone_options must be a dict of options, got 1"),
        ("options.context", 7, "unknown context module 7"),
        ("options.num_classes", 3, "'num_classes' is no option"),
        ("options.decoder", "x", "no option 'decoder'"),
        ("options.aux_head", None, "no option 'aux_head'"),
        ("options.multi_grid", [1, 60000, 1], r"multi_grid must be at most 64, got \(1, 60000, 1\)"),
    ],
)
def test_values_out_of_range(header, write, place, value, message):
    with pytest.raises(ValueError, match=rf"m\.safetensors.*{message}") as raised:
        srzoo.load_model(write(_with(header, place, value)))
    assert_one_line(raised.value)
    assert len(str(raised.value)) < 1500


def test_a_deep_header_is_refused_with_the_name_of_the_file(write):
    with pytest.raises(ValueError, match=r"m\.safetensors is not a configuration of srzoo: nested"):
        srzoo.load_model(write('{"a":' * 100_000 + "1" + "}" * 100_000))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
def test_a_header_cannot_ask_for_memory(header, write, run_python):
    """14 GB for the weights of 20,000 channels: they are compared on the meta device, before they are allocated."""
    path = write(_with(header, "options.channels", 20000))
    limit = 6 << 30
    code = (
        "import resource, srzoo, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "try: srzoo.load_model(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )
    result = run_python("-c", code, str(path))
    assert "fit this model" in result.stdout, result.stderr[-500:]
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != limit


def test_names_of_tensors_are_visible_and_short(model, header, tmp_path):
    state = {**model.state_dict(), "\x1b[31m" + "x" * 10_000: torch.zeros(1)}
    save_file(state, tmp_path / "m.safetensors", {"srzoo": json.dumps(header)})
    with pytest.raises(ValueError, match=r"unexpected \\x1b\[31mx") as raised:
        srzoo.load_model(tmp_path / "m.safetensors")
    assert len(str(raised.value)) < 500


def test_what_is_written_can_be_read(model, tmp_path):
    """A configuration that could not be read again is refused before the old file is replaced."""
    path = tmp_path / "m.safetensors"
    srzoo.save_model(model, path, recipe="lr: 1")
    content = path.read_bytes()
    broken = srzoo.create_model("srnet", **OPTIONS)
    broken.reconfigure(transform=srzoo.zoo.transform.Transform(10**6))
    with pytest.raises(ValueError, match=r"cannot write .*m\.safetensors.*short_side .* 4096, got 1000000"):
        srzoo.save_model(broken, path)
    assert path.read_bytes() == content
    assert read_model_file(path)[0] == model.config


RECIPE = load_recipe("srnet_lite0_camvid").to_dict()


@SETTINGS
@given(st.data())
def test_any_recipe_is_read_or_refused(tmp_path, data):
    path = tmp_path / "r.yaml"
    document = data.draw(changed(RECIPE, ("base", "model_options", "start", "pretrained", "crop")) | ANYTHING)
    path.write_text(yaml.safe_dump(document, allow_unicode=False), errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert isinstance(load_recipe(path), Recipe)
    except (ValueError, OSError) as error:
        assert_one_line(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_options: {1: 2}", r"model_options: its content must be a mapping .* \{1: 2\}"),
        ("model_options: {name: x}", "model_options takes no name.* model;"),
        ("model_options: {pretrained_backbone: f}", "model_options takes no pretrained_backbone.* start;"),
        (f"steps: {'9' * 4000}\nepochs: null", "steps must be at most 9,007,199,254,740,992, got a number of"),
        ("batch_size: 99999999999999999999", "batch_size must be .*, got 9{20}"),
        ("semantic: {crop: 1e300}", "semantic.crop must be .*, got"),
        ("semantic: {scale: [1.0e-300, 1.0e+300]}", r"semantic.scale must be from 0.01 to 16, got \(1e-300"),
        ("a: " + "[" * 5000, "r.yaml is not a recipe: it is nested too deep"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(f"c{i}: &c{i} [*{'b' if not i else f'c{i - 1}'}, *b]\n"
          for i in range(40)), "unknown key 'a'|more than 10,000 values|nested more than 8 deep"),
    ],
)  # fmt: skip
def test_recipes_out_of_range(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(f"base: srnet_lite0_camvid\n{text}\n")
    with pytest.raises(ValueError, match=message) as raised:
        load_recipe(path)
    assert_one_line(raised.value)


def test_a_recipe_in_another_encoding_or_too_large_is_refused_with_its_name(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes("model: é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"r\.yaml is not YAML \(.*utf-8"):
        load_recipe(path)
    path.write_text("# " + "x" * (1 << 20))
    with pytest.raises(ValueError, match=r"r\.yaml .*more than 1,048,576 bytes"):
        load_recipe(path)


RECEIPT = {
    "weights_sha256": "a",
    "dataset": "camvid",
    "split": "val",
    "protocol": "single",
    "headline": "mIoU",
    "figures": {"mIoU": 0.5},
}


@SETTINGS
@given(st.data())
def test_any_file_of_receipts_is_read_or_kept(tmp_path, data):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data.draw(changed([RECEIPT]) | ANYTHING)))
    before = path.read_text()
    try:
        read_receipts(path)
    except ValueError as error:
        assert_one_line(error, str(path), "--receipt")
        with pytest.raises(ValueError):
            add_receipt(RECEIPT, path)
        assert path.read_text() == before


def test_receipts_of_two_writers_are_all_kept(tmp_path, run_python):
    """Each adds 20, and neither replaces the file that the other has read."""
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom srzoo.evaluate.receipt import add_receipt\n"
        f"receipt = {RECEIPT!r}\n"
        "child = os.fork()\n"
        "for i in range(20): add_receipt({**receipt, 'weights_sha256': f'{child == 0}{i}'}, Path(sys.argv[1]))\n"
        "os.waitpid(child, 0) if child else os._exit(0)\n"
    )
    result = run_python("-c", code, str(tmp_path / "r.json"))
    assert result.returncode == 0, result.stderr
    assert len(read_receipts(tmp_path / "r.json")) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_pickles_that_stand_for_more_than_they_hold(tmp_path):
    """A tensor of a billion rows in a kilobyte, nested tensors, compressed records, a name of a megabyte."""
    path = tmp_path / "x.pth"

    def refused(message):
        with pytest.raises(ValueError, match=message) as raised:
            srzoo.create_model("srnet_lite0", num_classes=3, pretrained_backbone=path)
        assert_one_line(raised.value, "x.pth")

    torch.save({"head.final.4.weight": torch.zeros(1).expand(10**9, 1)}, path)
    refused(r"head\.final\.4\.weight.* expanded to \(1000000000, 1\) from 4 bytes")
    torch.save({"a": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}, path)
    refused("nested|it holds")
    torch.save({"a": torch.zeros(3).to_sparse()}, path)
    refused("sparse")
    import zipfile

    torch.save({"a": torch.zeros(10**6)}, path)
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(tmp_path / "y", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    (tmp_path / "y").rename(path)
    refused("compressed")
    torch.save({"x" * 10**6: torch.zeros(1).expand(10**9)}, path)
    refused("expanded")


def test_a_colour_of_the_palette_is_drawn_before_anything_else(model, header, write):
    """A file that is read can also be drawn."""
    segmenter = srzoo.Segmenter(write(header))
    assert segmenter(Image.new("RGB", (48, 32))).overlay().size == (48, 32)
