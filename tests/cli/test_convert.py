import timm
import torch

import srzoo
from srzoo.cli import main


def test_convert_prints_what_it_read(tmp_path, capsys):
    source, target = tmp_path / "resnet50-deep.pth", tmp_path / "r50.safetensors"
    state = timm.create_model("resnet50s").state_dict()
    torch.save(state, source)
    target.write_bytes(b"of another day")
    assert main(["convert", str(source), str(target)]) == 0
    assert capsys.readouterr().out == f"{source}: ResNet-50 with a deep stem, for pretrained_backbone= -> {target}\n"
    model = srzoo.create_model("srnet_r50", num_classes=2, pretrained_backbone=target)
    assert torch.equal(model.backbone.body.layer4[2].conv3.weight, state["layer4.2.conv3.weight"])


def test_a_bad_file_is_one_line_on_stderr(tmp_path, capsys):
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, source)
    assert main(["convert", str(source), str(target), "--dataset", "camvid"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"srzoo: cannot convert {source}: ") and printed.err.count("\n") == 1
    assert "SRNet" in printed.err and "'camvid'" in printed.err
    assert not printed.out and not target.exists()
