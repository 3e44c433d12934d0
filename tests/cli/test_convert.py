import re

import timm
import torch

import srzoo
from srzoo.cli import main


def test_convert_prints_what_the_file_holds(tmp_path, capsys):
    source, target = tmp_path / "resnet50-deep.pth", tmp_path / "r50.safetensors"
    state = timm.create_model("resnet50s").state_dict()
    torch.save(state, source)
    target.write_bytes(b"an old file")
    assert main(["convert", str(source), str(target)]) == 0
    assert re.fullmatch(rf"{re.escape(str(source))}: .*ResNet-50.* {re.escape(str(target))}\n", capsys.readouterr().out)
    model = srzoo.create_model("srnet_r50", num_classes=2, pretrained_backbone=target)
    assert torch.equal(model.backbone.body.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


def test_invalid_file_is_one_line_of_error(tmp_path, capsys):
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, source)
    assert main(["convert", str(source), str(target), "--dataset", "camvid"]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(rf"srzoo: .*{re.escape(str(source))}.*'camvid'.*\n", printed.err)
    assert not printed.out and not target.exists()
