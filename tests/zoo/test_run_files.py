"""What is given for a model and is none: the error says what to give."""

import pytest

import srzoo
from srzoo.zoo.factory import trained_model
from srzoo.zoo.info import task_of
from srzoo.zoo.run_files import RUN_FILES


@pytest.fixture
def run(tmp_path):
    """The folder of a run."""
    for name in (*RUN_FILES, "checkpoint.pt", "recipe.yaml"):
        (tmp_path / name).write_bytes(b"\x00" * 16)
    return tmp_path


@pytest.mark.parametrize("name", ["", "checkpoint.pt", "recipe.yaml"])
@pytest.mark.parametrize("load", [srzoo.load_model, trained_model, task_of])
def test_parts_of_a_run(run, name, load):
    with pytest.raises((ValueError, FileNotFoundError), match=r"best\.safetensors.* best .*last\.safetensors"):
        load(str(run / name))


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match="folder, pass the .safetensors"):
        trained_model(str(tmp_path))
    (tmp_path / "net.pth").write_bytes(b"\x00" * 16)
    for load in (srzoo.load_model, trained_model):
        with pytest.raises(ValueError, match=r"net\.pth.*srzoo convert.*pretrained_backbone"):
            load(str(tmp_path / "net.pth"))
    for name, meant in (("net.onnx", "Segmenter.*srzoo eval"), ("net.pt2", r"torch\.export\.load")):
        (tmp_path / name).write_bytes(b"\x00" * 16)
        for load in (srzoo.load_model, trained_model):
            with pytest.raises(ValueError, match=meant):
                load(str(tmp_path / name))
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        trained_model(str(tmp_path / "readme.txt"))


def test_a_name_for_a_file():
    with pytest.raises(FileNotFoundError, match=r"create_model\('srnet_lite0_camvid', pretrained=True\)"):
        srzoo.load_model("srnet_lite0_camvid")
