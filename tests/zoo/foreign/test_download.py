"""Weights of other projects by their address, with a made-up file in the cache; nothing is downloaded."""

import dataclasses
import hashlib
import re

import pytest
import torch
from torchvision.models.detection import _utils, maskrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d

import srzoo
from srzoo.cli import main
from srzoo.evaluate.receipt import weights_facts
from srzoo.labels.coco import COCO_INSTANCE
from srzoo.zoo.foreign import download
from tests.zoo.foreign.test_mmdet import picture
from tests.zoo.foreign.test_torchvision import assert_same, coco_labels, detections, old_names, settled, silence_unused

NAMES = ["mask_rcnn_r50_coco", "srnet_mask_rcnn_r50_coco"]
FILE = "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""

    def refuse(*args, **kwargs):
        raise OSError("sockets are blocked")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr("socket.create_connection", refuse)
    return tmp_path / "hub" / "checkpoints"


def known_as(monkeypatch, path):
    """List the file as torchvision's."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    for name in NAMES:
        changed = dataclasses.replace(download.DOWNLOADED[name], sha256=sha256)
        monkeypatch.setitem(download.DOWNLOADED, name, changed)


@torch.inference_mode()
def test_pretrained_is_torchvision_s_file(cache, monkeypatch):
    """With the names and frozen norms of the published file; the block changes nothing until it is trained."""
    network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    for part in list(network.backbone.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, torch.nn.BatchNorm2d):
                part.add_module(name, FrozenBatchNorm2d(child.num_features))
    _utils.overwrite_eps(network, 0.0)
    theirs = silence_unused(settled(network, 91))
    cache.mkdir(parents=True)
    torch.save(old_names(theirs.state_dict()), cache / FILE)
    known_as(monkeypatch, cache / FILE)
    assert weights_facts(NAMES[0])["weights_sha256"] == hashlib.sha256((cache / FILE).read_bytes()).hexdigest()
    x = picture(96, 128).float()
    plain, block = (srzoo.create_model(name, pretrained=True) for name in NAMES)
    assert (plain.config.name, block.config.name) == tuple(NAMES)
    assert plain.config.labels == block.config.labels == COCO_INSTANCE
    assert plain.config.transform == srzoo.model_info(NAMES[0]).transform
    assert any("context" in key for key in block.state_dict())
    wanted, found = plain.eval()(x)[0], block.eval()(x)[0]
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    assert_same(wanted, detections(theirs, x), coco_labels(), atol=1e-2, rtol=1e-3)
    with pytest.raises(ValueError, match=r"box_head\..*; leave out box_channels, or start from other weights"):
        srzoo.create_model(NAMES[0], pretrained=True, box_channels=512)


def test_what_to_do_without_a_network(cache):
    with pytest.raises(RuntimeError) as raised:
        srzoo.create_model("mask_rcnn_r50_coco", pretrained=True)
    message = str(raised.value)
    assert "\n" not in message and f"https://download.pytorch.org/models/{FILE}" in message
    assert str(cache / FILE) in message and f"srzoo convert {FILE}" in message
    assert not list(cache.glob("*"))


def test_a_damaged_file_is_not_loaded(cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(b"half of it")
    with pytest.raises(ValueError, match=rf"{re.escape(str(cache / FILE))} has sha256 .*, expected bf2d0c1e.*delete"):
        srzoo.create_model("srnet_mask_rcnn_r50_coco", pretrained=True)
    torch.save({"layer0.0.0.weight": torch.zeros(1)}, cache / FILE)
    known_as(monkeypatch, cache / FILE)
    with pytest.raises(ValueError, match="contains no detector of torchvision"):
        srzoo.create_model("mask_rcnn_r50_coco", pretrained=True)


def test_the_download_is_checked(cache, monkeypatch):
    """A file with another hash does not get into the cache."""
    source = cache.parent / "source.pth"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(b"something else")
    for name in NAMES:
        monkeypatch.setitem(
            download.DOWNLOADED,
            name,
            dataclasses.replace(download.DOWNLOADED[name], address=f"file://{source.parent}/{source.name}"),
        )
    with pytest.raises(RuntimeError, match="could not download torchvision's weights"):
        srzoo.create_model("mask_rcnn_r50_coco", pretrained=True)
    assert not list(cache.glob("*"))


def test_other_names_have_no_weights():
    with pytest.raises(ValueError, match="no published weights for 'mask_rcnn_r101_coco'.*mask_rcnn_r50_coco.*convert"):
        srzoo.create_model("mask_rcnn_r101_coco", pretrained=True)


def test_the_list_says_what_ships_and_what_is_downloaded(capsys):
    assert set(NAMES) <= set(srzoo.list_models(pretrained=True))
    assert main(["list", "--pretrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line in lines:
        is_theirs = line.split()[0] in NAMES
        assert ("torchvision are downloaded" in line) == is_theirs != ("weights ship" in line)
        assert not is_theirs or "%" not in line  # their figures are not srzoo's
    info = srzoo.model_info(NAMES[1])
    assert info.weights is None and info.metrics is None
    assert any("BSD-3-Clause" in line for line in info.licence) and any("COCO" in line for line in info.licence)
    assert main(["info", NAMES[0]]) == 0
    printed = capsys.readouterr().out
    assert FILE in printed and "not measured here" in printed and "37.9" not in printed and "34.6" not in printed
