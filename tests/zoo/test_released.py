import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import srzoo
from srzoo.labels.street import CAMVID, CITYSCAPES
from srzoo.layers import ReleasedSqueezeReasoning
from srzoo.zoo.conversion import convert
from srzoo.zoo.transform import Transform
from tests.zoo.released_srnet import Block, DeepStemResNet, ReleasedSRNet, trained

SHAPES = json.loads((Path(__file__).parent / "released_shapes.json").read_text())
MODULE = Path(__file__).parents[1] / "layers" / "data" / "channel_reason_module.safetensors"


@pytest.fixture(scope="module")
def theirs():
    return trained(ReleasedSRNet, 50, 19)


@pytest.fixture(scope="module")
def checkpoint(theirs, tmp_path_factory):
    """A snapshot as their training writes it: of a data-parallel model, with the best score as a numpy number."""
    path = tmp_path_factory.mktemp("released") / "r50.pth"
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    optimizer = {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]}
    torch.save({"state_dict": state, "optimizer": optimizer, "epoch": 179, "mean_iu": np.float64(0.79)}, path)
    return path


@pytest.fixture(scope="module")
def converted(checkpoint):
    path = checkpoint.with_suffix(".safetensors")
    assert convert(checkpoint, path) == "SRNet R50 as released, 19 classes of cityscapes"
    return path


@pytest.mark.parametrize("layers", [50, 101])
def test_the_plain_network_has_the_released_names_and_shapes(layers):
    with torch.device("meta"):
        state = ReleasedSRNet(layers, 19).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == SHAPES[f"SRNet_r{layers}"]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@torch.inference_mode()
def test_a_converted_model_agrees_with_theirs(dtype, tolerance, theirs, converted):
    x = torch.randn(2, 3, 49, 71, dtype=dtype)
    expected = theirs.to(dtype)(x)
    model = srzoo.load_model(converted).eval().to(dtype)
    for y, wanted in zip(model(x, return_aux=True), expected):
        assert y.shape == wanted.shape == (2, 19, 49, 71)
        assert wanted.std() > 0.1
        assert (y - wanted).abs().max() < tolerance * wanted.abs().max()
    theirs.float()


@torch.inference_mode()
def test_segmenter_with_a_converted_model(theirs, converted, examples):
    from PIL import Image

    segmenter = srzoo.Segmenter(converted)
    assert segmenter.config.classes == CITYSCAPES.classes
    assert segmenter.config.palette == CITYSCAPES.palette
    assert segmenter.config.name == "srnet_r50_cityscapes"
    image = Image.open(examples / "street.png").convert("RGB").resize((70, 50))
    segmenter.model.reconfigure(transform=Transform(96))  # small, for a fast test
    segmenter.config = segmenter.model.config
    result = segmenter(image)
    low = segmenter.model(segmenter.config.transform(image), upsample=False)
    full = torch.nn.functional.interpolate(low, (50, 70), mode="bilinear", align_corners=True)
    assert (result.labels == full.argmax(1)[0].numpy()).mean() > 0.999
    np.testing.assert_allclose(result.probabilities(), full[0].softmax(0).numpy(), atol=1e-5)


@torch.inference_mode()
def test_r101_with_other_classes_under_another_key(tmp_path):
    theirs = trained(ReleasedSRNet, 101, 11)
    torch.save({"model": theirs.state_dict()}, tmp_path / "in.pth")
    target = tmp_path / "out.safetensors"
    assert convert(tmp_path / "in.pth", target) == "SRNet R101 as released, 11 classes of camvid"
    model = srzoo.load_model(target).eval()
    assert model.config.classes == CAMVID.classes
    x = torch.randn(1, 3, 33, 47)
    expected = theirs(x)[0]
    assert (model(x) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_safetensors_without_counters_for_classes_of_no_dataset(theirs, tmp_path):
    """As in a file of PyTorch 0.4.0."""
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    state["head.final.4.weight"] = state["head.final.4.weight"][:7].half()
    state["head.final.4.bias"] = state["head.final.4.bias"][:7]
    state["aux_layer.aux.4.weight"] = state["aux_layer.aux.4.weight"][:7]
    state["aux_layer.aux.4.bias"] = state["aux_layer.aux.4.bias"][:7]
    save_file(state, tmp_path / "in.safetensors")
    target = tmp_path / "out.safetensors"
    assert convert(tmp_path / "in.safetensors", target) == "SRNet R50 as released, 7 classes"
    model = srzoo.load_model(target)
    assert model.config.name == "srnet_r50" and model.config.classes[6] == "class 6"
    assert {value.dtype for value in load_file(target).values()} == {torch.float32, torch.int64}
    with pytest.raises(ValueError, match="7 classes.*camvid .*11"):
        convert(tmp_path / "in.safetensors", target, "camvid")


def flat_stem(state: dict) -> dict:
    """The same ResNet with the names of another code base."""
    names = {"conv1.0": "conv1", "conv1.1": "bn1", "conv1.3": "conv2", "conv1.4": "bn2", "conv1.6": "conv3"}
    names = {**names, "bn1": "bn3"}

    def renamed(key):
        part = key.rpartition(".")[0]
        return key.replace(part, names[part], 1) if part in names else key

    return {renamed(key): value for key, value in state.items()}


@pytest.mark.parametrize("layout", ["nested", "flat", "without fc"])
@torch.inference_mode()
def test_an_imagenet_network_becomes_a_backbone(layout, tmp_path):
    network = trained(DeepStemResNet, 50)
    state = network.state_dict()
    if layout == "flat":
        state = flat_stem(state)
        assert state["conv3.weight"].shape == (128, 64, 3, 3) and len(state["bn3.bias"]) == 128
    if layout == "without fc":
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    torch.save(state, tmp_path / "in.pth", _use_new_zipfile_serialization=False)
    target = tmp_path / "out.safetensors"
    assert convert(tmp_path / "in.pth", target) == "ResNet-50 with a deep stem, for pretrained_backbone="
    options = {"output_stride": 32, "multi_grid": (1, 1, 1), "pretrained_backbone": target}
    model = srzoo.create_model("srnet_r50", num_classes=3, **options).eval()
    x = torch.randn(1, 3, 65, 93)
    torch.testing.assert_close(model.backbone(x)[-1], network.features(x), rtol=1e-4, atol=1e-4)
    if layout != "without fc":
        timm.create_model("resnet50s").load_state_dict(load_file(target))


def test_the_block_alone(tmp_path):
    tensors = load_file(MODULE)
    state = {key: value for key, value in tensors.items() if key.startswith("module.")}
    torch.save(state, tmp_path / "in.pth")
    target = tmp_path / "out.safetensors"
    assert convert(tmp_path / "in.pth", target) == "the released block, ReleasedSqueezeReasoning(128, nodes=32)"
    ours, theirs = ReleasedSqueezeReasoning(128, nodes=32).eval(), Block(128, 32).eval()
    ours.load_state_dict(load_file(target))
    theirs.load_state_dict({key.removeprefix("module."): value for key, value in state.items()}, strict=False)
    for module in (ours, theirs):
        torch.testing.assert_close(module(tensors["input"]), tensors["output"], rtol=2e-4, atol=2e-4)


def test_the_content_of_a_file_decides_how_it_is_read(tmp_path):
    """At any suffix, and under the other keys and prefixes that training loops use for a state dict."""
    tensors = load_file(MODULE)
    state = {key.removeprefix("module."): value for key, value in tensors.items() if key.startswith("module.")}
    save_file(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.safetensors")
    torch.save({"model_state_dict": state, "epoch": 3}, tmp_path / "c.pth")
    torch.save({"net": {f"module._orig_mod.{key}": value for key, value in state.items()}}, tmp_path / "d.pth")
    for name in ("a.pth", "b.safetensors", "c.pth", "d.pth"):
        assert convert(tmp_path / name, tmp_path / "out.safetensors").startswith("the released block"), name


class Unsafe:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def torch_file(content, **options):
    return lambda path: torch.save(content, path, **options)


def changed(**entries):
    """Their state dict without memory, with some shapes replaced, or removed if None."""
    shapes = {**SHAPES["SRNet_r50"], **entries}
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items() if shape is not None}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (torch_file({"state_dict": Unsafe()}), r"in\.pth .*\w+\.mkdir.*state dict"),
        (torch_file([Unsafe()], _use_new_zipfile_serialization=False), r"in\.pth .*\w+\.mkdir.*state dict"),
        (lambda path: path.write_bytes(pickle.dumps(Unsafe())), r"in\.pth .*(mkdir|damaged)"),
        (torch_file(torch.nn.Linear(2, 2)), r"torch\.nn\.modules\.linear\.Linear.*state dict"),
        (lambda path: path.write_bytes(b""), r"in\.pth .*file of tensors"),
        (lambda path: path.write_bytes(b"PK\3\4 no archive"), r"in\.pth .*file of tensors"),
        (lambda path: path.write_text("hello"), r"in\.pth .*file of tensors"),
        (lambda path: path.mkdir(), r"in\.pth.*folder"),
        (lambda path: None, r"file .*in\.pth$"),
        (torch_file(torch.zeros(3)), r"in\.pth .*state dict"),
        (torch_file({}), r"in\.pth .*state dict"),
        (torch_file({0: torch.zeros(3)}), r"in\.pth .*state dict"),
        (torch_file({"optimizer": {}, "epoch": 3}), r"in\.pth .*state dict"),
        (
            torch_file(changed(**{"head.in_module.bias": None, "head.in_module.weight": None})),
            "SRNet R50 .*lacks head.in_module.weight.* 1 more",
        ),
        (
            torch_file(changed() | {"head.module.gn.weight": torch.zeros(512, dtype=torch.int8)}),
            "head.module.gn.weight .*torch.strided .*torch.int8; .*dense floating",
        ),
        (
            torch_file(changed() | {"head.module.gn.weight": torch.zeros(512, device="meta")}),
            "head.module.gn.weight .*meta",
        ),
        (
            torch_file(changed() | {"head.module.gn.weight": torch.full([512], float("nan"))}),
            "head.module.gn.weight .*finite",
        ),
        (torch_file(changed(extra=[2])), "SRNet R50 .*unexpected extra$"),
        (
            torch_file(changed(**{"head.module.conv_adj.weight": [16, 16, 1]})),
            r"head.module.conv_adj.weight .*\(16, 16, 1\) .*\(32, 32, 1\)",
        ),
        (torch_file(changed(**{"head.final.4.weight": []})), r"head.final.4.weight .*\(\) .*\(2, 512, 1, 1\)"),
        (torch_file({"layer0.0.0.weight": torch.zeros(1)}), "SRNet R50 .*lacks layer0.0.1.weight.* 308 more"),
        (torch_file({"conv1.6.weight": torch.zeros(1)}), "ResNet-50 .*lacks conv1.0.weight"),
        (torch_file({"conv_adj.weight": torch.zeros(3)}), "channels/2 = 256 .*nodes=3"),
        (
            torch_file(timm.create_model("resnet18").state_dict()),
            "layer0.0.0.weight.*conv1.0.weight.*conv_adj.weight.* conv1.weight$",
        ),
    ],
)
def test_invalid_sources(write, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    write(source)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        convert(source, target)
    assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"in.pth"}  # nothing written, and no code executed


@pytest.mark.parametrize("legacy", [True, False])
def test_a_truncated_file(legacy, tmp_path):
    source = tmp_path / "in.pth"
    torch.save(changed(), source, _use_new_zipfile_serialization=not legacy)
    content = source.read_bytes()
    for share in (0.02, 0.5, 0.98):
        source.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"in\.pth .*file of tensors"):
            convert(source, tmp_path / "out.safetensors")
    save_file({"a": torch.zeros(100)}, tmp_path / "in.safetensors")
    (tmp_path / "in.safetensors").write_bytes((tmp_path / "in.safetensors").read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"in\.safetensors .*file of tensors"):
        convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("out.pth", r"out\.pth .*out\.safetensors"),
        ("", r"\.safetensors file; .*\.safetensors"),
        ("gone/out.safetensors", "folder .*gone "),
        ("in.safetensors", r"in\.safetensors .*input;.*name"),
    ],
)
def test_invalid_targets_are_an_error_before_the_source_is_read(target, message, tmp_path):
    source = tmp_path / "in.safetensors"
    source.write_bytes(b"unread")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        convert(source, tmp_path / target)
    assert source.read_bytes() == b"unread"


def test_a_target_that_is_a_folder(tmp_path):
    torch.save({key: value for key, value in load_file(MODULE).items() if "." in key}, tmp_path / "in.pth")
    (tmp_path / "out.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match=r"out\.safetensors .*folder; .*file"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert not list(tmp_path.glob(".*"))


def test_datasets_that_do_not_fit(tmp_path):
    torch.save(changed(), tmp_path / "in.pth")
    with pytest.raises(ValueError, match="'cityscape'.*'cityscapes'.* camvid, "):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors", "cityscape")
    torch.save({"conv_adj.weight": torch.zeros(2, 2, 1)}, tmp_path / "in.pth")
    with pytest.raises(ValueError, match="SRNet.*dataset='camvid'"):
        convert(tmp_path / "in.pth", tmp_path / "out.safetensors", "camvid")
