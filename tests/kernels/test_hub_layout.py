"""The layout for Hugging Face's `kernels`, loaded offline beside the installed package."""

import importlib.util
import json
from pathlib import Path

import pytest

LAYOUT = Path(__file__).parents[2] / "kernels" / "hub_layout.py"


@pytest.fixture
def folder(run_python, tmp_path):
    result = run_python(str(LAYOUT), str(tmp_path / "repository"))
    assert result.returncode == 0, result.stderr
    return tmp_path / "repository"


def test_what_is_in_it(folder, run_python):
    variants = sorted(path.name for path in (folder / "build").iterdir())
    assert variants == ["torch-cpu", "torch-cuda", "torch-rocm"]
    ids = {json.loads((folder / "build" / name / "metadata.json").read_text())["id"] for name in variants}
    assert len(ids) == 3 and all(each.isidentifier() for each in ids)
    assert (folder / "build" / "torch-cpu" / "gram" / "reference.py").exists()
    assert not list(folder.rglob("__pycache__"))
    again = run_python(str(LAYOUT), str(folder))
    assert again.returncode == 1 and "has files in it" in again.stderr


_BESIDE = """
import importlib.util, sys, torch
import srzoo_kernels

path = sys.argv[1] + "/build/torch-cpu/__init__.py"
spec = importlib.util.spec_from_file_location("_srzoo_kernels_cpu_0123", path)
loaded = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = loaded
spec.loader.exec_module(loaded)
check(loaded)
"""
_CHECK = """
def check(loaded):
    assert not loaded.__file__ == srzoo_kernels.__file__
    x = torch.randn(2, 16, 9, 7)
    for a, b in zip(loaded.gram(x), srzoo_kernels.gram(x)):
        assert torch.equal(a, b)
    assert hasattr(torch.ops.srzoo, "gram") and len([n for n in dir(torch.ops) if n.startswith("srzoo")]) == 2
    m = torch.randn(2, 16, 16, requires_grad=True)
    loaded.channel_affine(x, m).sum().backward()
    assert m.grad.isfinite().all()
    print(loaded.__name__)
"""


def test_it_is_loaded_beside_the_installed_package(folder, run_python):
    result = run_python("-c", _CHECK + _BESIDE, str(folder))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "_srzoo_kernels_cpu_0123"


_BY_KERNELS = """
import sys
from pathlib import Path
import torch
import srzoo_kernels
from kernels import get_local_kernel
from kernels._rust import Build, Metadata

folder = Path(sys.argv[1])
build = Build.open(folder)
assert {str(each).lower() for each in build.general.backends} == {"cpu", "cuda", "rocm"}
for variant in (folder / "build").iterdir():
    facts = Metadata.read_from_file(variant / "metadata.json")
    assert (facts.name.python_name, facts.version, facts.license) == ("srzoo_kernels", 1, "Apache-2.0")
check(get_local_kernel(folder, backend="cpu", trust_remote_code=True))
"""


@pytest.mark.skipif(importlib.util.find_spec("kernels.load") is None, reason="needs Hugging Face's kernels")
def test_hugging_face_kernels_loads_it(folder, run_python):
    result = run_python("-c", _CHECK + _BY_KERNELS, str(folder), env={"HF_HUB_OFFLINE": "1"})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().startswith("_srzoo_kernels_cpu_")
