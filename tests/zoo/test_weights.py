import copy
import dataclasses
import hashlib
import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import srzoo
from srzoo.labels import LabelSet
from srzoo.recipes.recipe import load_recipe
from srzoo.zoo import published, registry, weights
from srzoo.zoo.config import ModelConfig
from srzoo.zoo.info import licence_chain
from srzoo.zoo.published import PUBLISHED
from srzoo.zoo.transform import Transform
from srzoo.zoo.weights import read_model_file

NAMES = sorted(PUBLISHED)
# The headline of each task, and the figures that are means over the classes, with the name of the classes' own.
MEANS = {
    "semantic": ("mIoU", {"mIoU": "IoU", "boundary F1": "boundary F1"}),
    "instance": ("mask AP", {"box AP": "box AP", "mask AP": "mask AP"}),
    "panoptic": ("PQ", {"PQ": "PQ", "SQ": "SQ", "RQ": "RQ"}),
}


@pytest.mark.parametrize("name", NAMES)
class TestPublished:
    def test_file_is_the_published_one(self, name):
        entry = PUBLISHED[name]
        assert hashlib.sha256(entry.path.read_bytes()).hexdigest() == entry.sha256
        assert entry.path.stat().st_size <= 2.1 * entry.parameters  # float16

    def test_parameters_are_recounted(self, name):
        model = srzoo.create_model(name, pretrained=True)
        assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name].parameters

    def test_configuration_is_the_registry_s(self, name):
        config = srzoo.create_model(name, pretrained=True).config
        built = srzoo.create_model(name).config
        assert config == dataclasses.replace(built, thresholds=config.thresholds)
        assert config.options == built.options

    def test_receipt_is_complete(self, name):
        assert PUBLISHED[name].receipt()["command"].startswith(f"srzoo eval --model {name} ")
        assert PUBLISHED[name].receipt()["view"].get("scales", [1.0]) == [1.0]
        for receipt in PUBLISHED[name].receipts():
            self.check_receipt(name, receipt)

    def check_receipt(self, name, receipt):
        assert receipt["weights_sha256"] == PUBLISHED[name].sha256
        info = srzoo.model_info(name)
        headline, means = MEANS[info.task]
        assert receipt["headline"] == headline
        for mean, figure in means.items():
            values = receipt["by_class"][figure]
            assert list(values) == list(info.classes)
            assert receipt["figures"][mean] == pytest.approx(sum(values.values()) / len(values), abs=1e-9)
        assert {"split", "protocol", "command", "commit", "versions", "seed", "recipe"} <= set(receipt)

    def test_licence_is_the_whole_chain(self, name):
        licence, recipe = PUBLISHED[name].licence, load_recipe(PUBLISHED[name].recipe)
        code, *rest = licence_chain(*registry.split_name(name))
        teacher = getattr(recipe.options, "teacher", "")
        taught = [f"taught by {teacher}, and so under its terms too"] if teacher else []
        assert licence == (code, *taught, *rest)

    def test_recipe_exists_and_is_of_this_model(self, name):
        assert load_recipe(PUBLISHED[name].recipe).model == name


def test_round_trip_in_half_precision(tmp_path):
    torch.manual_seed(0)
    model = srzoo.create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4).eval()
    next(model.buffers())[:3] = torch.tensor([7e4, 1e6, 1.0])  # a tensor that overflows float16 keeps its dtype
    srzoo.save_model(model, tmp_path / "m.safetensors", dtype=torch.float16)
    again = srzoo.load_model(tmp_path / "m.safetensors").eval()
    assert again.config == model.config
    assert torch.equal(next(again.buffers()), next(model.buffers()))
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(again(x), model(x), rtol=1e-2, atol=1e-2)
    assert list(tmp_path.iterdir()) == [tmp_path / "m.safetensors"]


def test_save_model_takes_compiled_models_but_no_others(tmp_path):
    model = srzoo.create_model("srnet_lite0", num_classes=3)
    srzoo.save_model(torch.compile(model, backend="eager"), tmp_path / "m.safetensors")
    loaded = srzoo.load_model(tmp_path / "m.safetensors")
    assert torch.equal(loaded.classifier.weight, model.classifier.weight)
    for other in (torch.nn.Conv2d(3, 8, 1), torch.nn.DataParallel(model)):
        with pytest.raises(ValueError, match=f"save_model .*create_model.* got {type(other).__name__};"):
            srzoo.save_model(other, tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


def test_repeats_have_the_same_protocol_and_other_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "DATA", tmp_path)
    own = {"weights_sha256": "own", "dataset": "camvid", "split": "val", "protocol": "single", "seed": 0}
    others = [{**own, "weights_sha256": "b", "seed": 2}, {**own, "weights_sha256": "c", "seed": 1}]
    foreign = [
        {**own, "weights_sha256": "d", "seed": None},
        {**own, "weights_sha256": "e", "seed": 0},
        {**own, "weights_sha256": "b", "seed": 2, "protocol": "flip"},
        {**own, "weights_sha256": "b", "seed": 2, "split": "train"},
    ]
    (tmp_path / "m.json").write_text(json.dumps([*others, own, *foreign]))
    entry = published.Weights("m.safetensors", "own", 1, (), "srnet_lite0_camvid")
    assert entry.receipts() == [own]
    assert entry.repeats(own) == [others[1], others[0]]


def test_a_model_that_load_model_could_not_load_is_not_written(tmp_path):
    model = srzoo.create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4)
    with_block = srzoo.insert(copy.deepcopy(model), "backbone.body.layer3.1", nodes=4)
    other_head = copy.deepcopy(model)
    other_head.classifier = torch.nn.Conv2d(32, 5, 1)
    state = torch.get_rng_state()
    for changed in (srzoo.fuse(model), with_block, other_head):
        with pytest.raises(ValueError, match="srnet: it .*; save the model before fuse, insert"):
            srzoo.save_model(changed, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("m.safetensors", torch.int8, "dtype=torch.int8.*float32"),  # would round the weights to integers
        ("m.safetensors", torch.float8_e4m3fn, "dtype=torch.float8_e4m3fn"),
        ("m.safetensors", "half", "dtype='half'"),
        ("m.pt", None, r"\.safetensors, got .*m\.pt"),  # Segmenter would take the path for a name
    ],
)
def test_files_that_could_not_be_used_are_not_written(tmp_path, name, dtype, message):
    model = srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=3, channels=32, nodes=4)
    with pytest.raises(ValueError, match=message):
        srzoo.save_model(model, tmp_path / name, dtype=dtype)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    model = srzoo.create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4)
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def fail(state, target, metadata):
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        srzoo.save_model(model, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_published_file(tmp_path, monkeypatch):
    entry = PUBLISHED["srnet_lite0_camvid"]
    damaged = tmp_path / entry.file
    shutil.copy(entry.path, damaged)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(published, "DATA", tmp_path)
    with pytest.raises(ValueError, match=r"sha256 \w{12}\.\.\., expected 3f2ccc2c18ed.*; reinstall"):
        srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    damaged.unlink()
    with pytest.raises(ValueError, match=r"srnet_lite0_camvid\.safetensors .*missing; reinstall"):
        srzoo.create_model("srnet_lite0_camvid", pretrained=True)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 64])
def test_files_that_are_not_safetensors(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors .*safetensors file"):
        srzoo.load_model(path)


def test_safetensors_of_another_program(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x\.safetensors .*srzoo configuration.*save_model"):
        srzoo.load_model(tmp_path / "x.safetensors")


HEADER = {
    "name": "x",
    "network": "srnet",
    "task": "semantic",
    "options": {},
    "labels": {"classes": ["a"], "palette": [[0, 0, 0]]},
    "transform": {"short_side": 64},
}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "line 1"),
        ("[]", ""),
        ("{}", "classes"),
        ('{"name": "x"}', "classes"),
        ('{"name":"x","options":{},"classes":3}', "palette"),
        (json.dumps({**HEADER, "labels": {"classes": ["a"], "palette": []}}), "1 classes but 0 colours"),
        (json.dumps({**HEADER, "labels": {"classes": ["a"]}}), "palette"),
        (json.dumps({**HEADER, "transform": {"short_side": 64, "crop": 3}}), "crop"),
        (json.dumps({**HEADER, "transform": {}}), "short_side"),
    ],
)
def test_invalid_headers(tmp_path, header, reason):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"srzoo": header})
    with pytest.raises(ValueError, match=f"configuration of srzoo: .*{reason}") as raised:
        srzoo.load_model(tmp_path / "x.safetensors")
    assert "\n" not in str(raised.value)


def test_the_error_names_missing_and_unexpected_tensors(tmp_path):
    model = srzoo.create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4)
    state = model.state_dict()
    state["extra"] = torch.zeros(1)
    del state["classifier.bias"]
    save_file(state, tmp_path / "x.safetensors", {"srzoo": model.config.to_json()})
    with pytest.raises(ValueError, match="lacks classifier.bias.* 1 more"):
        srzoo.load_model(tmp_path / "x.safetensors")


def test_configuration_round_trip():
    config = srzoo.create_model("srnet_lite0_camvid").config
    assert ModelConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["options"]["decoder_strides"] == [8, 4]
    things = LabelSet(config.classes, config.palette, tuple(name == "car" for name in config.classes))
    panoptic = dataclasses.replace(config, task="panoptic", labels=things)
    assert ModelConfig.from_json(panoptic.to_json()) == panoptic != config


def test_transform_through_json():
    """Keys that an older file lacks have their defaults."""
    config = srzoo.create_model("srnet_lite0_camvid").config
    for transform in (Transform(540), Transform(800, long_side=1333, multiple=32, fit="pad")):
        changed = dataclasses.replace(config, transform=transform)
        assert ModelConfig.from_json(changed.to_json()).transform == transform
    older = {"short_side": 540, "max_pixels": 2 << 20, "mean": [0.5] * 3, "std": [0.5] * 3}
    values = {**json.loads(config.to_json()), "transform": older}
    found = ModelConfig.from_json(json.dumps(values)).transform
    assert found == Transform(540, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize(("name", "family"), [("srnet_lite0_camvid", None), ("dfseg_v1_camvid", "dfseg")])
def test_headers_of_older_files(name, family):
    """They have classes and palette instead of labels, and family instead of network; the oldest have neither."""
    config = srzoo.create_model(name).config
    values = {
        "name": name,
        "options": config.options,
        "classes": config.classes,
        "palette": config.palette,
        "transform": dataclasses.asdict(config.transform),
    }
    if family:
        values["family"] = family
    assert ModelConfig.from_json(json.dumps(values)) == config


def test_the_published_files_have_older_headers():
    for name in ("srnet_dfv2_camvid", "srnet_lite0_camvid"):
        with safe_open(PUBLISHED[name].path, "numpy") as file:
            assert "labels" not in json.loads(file.metadata()["srzoo"])


def test_round_trip_of_another_network(tmp_path):
    torch.manual_seed(0)
    model = srzoo.create_model("dfseg_v1_pascal_context").eval()
    srzoo.save_model(model, tmp_path / "m.safetensors")
    again = srzoo.load_model(tmp_path / "m.safetensors").eval()
    assert type(again) is type(model)
    assert again.config == model.config
    x = torch.randn(1, 3, 33, 65)
    torch.testing.assert_close(again(x), model(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "deeplab"}, "unknown network 'deeplab' of 'srnet'.* srnet, dfseg"),
        ({"task": "instance"}, "'srnet' .* 'instance'.* 'semantic'"),
        ({"network": "mask_rcnn"}, "'srnet' .*'semantic'.*'mask_rcnn'.*'instance'"),
    ],
)
def test_a_configuration_of_a_later_version(changes, message, tmp_path):
    model = srzoo.create_model("srnet", backbone="resnet18", num_classes=3, channels=32, nodes=4)
    config = dataclasses.replace(model.config, **changes)
    weights.write_model_file(config, model.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=message):
        srzoo.load_model(tmp_path / "m.safetensors")


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r"file gone\.safetensors"):
        read_model_file("gone.safetensors")


def test_published_names_are_registered():
    assert set(PUBLISHED) <= set(registry.names())
    assert all(dataclasses.is_dataclass(entry) for entry in PUBLISHED.values())
