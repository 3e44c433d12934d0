import os
import subprocess
import sys

import pytest
import torch
from torch._inductor.exc import InductorError, InvalidCxxCompiler

import srzoo

LOAD = """
import sys, torch
program = torch.export.load(sys.argv[1], extra_files=(extra := {"classes": ""}))
x = torch.load(sys.argv[2])
torch.save(program.module()(x), sys.argv[3])
assert "srzoo" not in sys.modules and "sky" in extra["classes"]
"""
RUN = """
import sys, torch
run = torch._inductor.aoti_load_package(sys.argv[1])
torch.save(run(torch.load(sys.argv[2])), sys.argv[3])
assert "srzoo" not in sys.modules
"""


def elsewhere(code, folder, model, path, size):
    """What a process without srzoo computes with a file, and what the model does."""
    x = torch.rand(1, 3, *size)
    torch.save(x, folder / "x.pt")
    command = [sys.executable, "-I", "-c", code, str(path), str(folder / "x.pt"), str(folder / "y.pt")]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    with torch.inference_mode():
        return torch.load(folder / "y.pt"), model(x)


def test_a_program_runs_without_srzoo(tmp_path):
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True).eval()
    program = srzoo.export_program(model, tmp_path / "m.pt2").program
    assert not [node for node in program.graph.nodes if "srzoo" in str(node.target)]
    found, expected = elsewhere(LOAD, tmp_path, model, tmp_path / "m.pt2", (83, 130))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_a_detector_s_heads_on_regions_are_not_in_the_file():
    model = srzoo.create_model("mask_rcnn_lite0_facade")
    weights = srzoo.export_program(model, size=(64, 64)).program.state_dict
    assert {name.split(".")[1] for name in weights} == {"backbone", "rpn"}
    assert hasattr(model, "roi_heads")


@pytest.mark.slow
def test_a_package_runs_without_srzoo(tmp_path):
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True).eval()
    srzoo.export_package(model, tmp_path / "m.pt2")
    found, expected = elsewhere(RUN, tmp_path, model, tmp_path / "m.pt2", (97, 140))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    command = [sys.executable, "-I", "-c", RUN, *(str(tmp_path / name) for name in ("m.pt2", "x.pt", "y.pt"))]
    checked = {**os.environ, "AOTI_RUNTIME_CHECK_INPUTS": "1"}
    permuted = torch.rand(1, 97, 140, 3).permute(0, 3, 1, 2)
    for images, said in ((permuted, "stride"), (torch.rand(1, 3, 97, 140).byte(), "dtype"), (permuted[:0], "dim")):
        torch.save(images, tmp_path / "x.pt")
        refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=checked)
        assert refused.returncode and said in refused.stderr


def test_a_package_without_a_compiler(tmp_path, monkeypatch):
    def compile_nothing(*arguments, **options):
        raise InductorError(InvalidCxxCompiler(), None)

    monkeypatch.setattr("srzoo.export.package.program_of", lambda network: None)
    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile_nothing)
    with pytest.raises(RuntimeError, match="CXX"):
        srzoo.export_package(srzoo.create_model("srnet_lite0", num_classes=2), tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())
