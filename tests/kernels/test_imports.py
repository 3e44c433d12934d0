"""What importing and running the operators may need."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "kernels" / "srzoo_kernels"


def test_runs_on_a_cpu_without_triton():
    """A CPU build of PyTorch has none: the block must run there, forward and backward."""
    program = """
import sys
sys.modules["triton"] = None  # importing it now raises ImportError
import torch, srzoo_kernels
x = torch.randn(1, 32, 3, 5, requires_grad=True)
second, first = srzoo_kernels.gram(x)
z = srzoo_kernels.graph_reason(first, torch.eye(4), torch.eye(8))
srzoo_kernels.channel_affine(x, second * z[:, None]).sum().backward()
assert x.grad.isfinite().all()
"""
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_a_gpu_without_triton_runs_plain_pytorch():
    """As PyTorch for Windows has it; the GPU is a fake one, so what the kernels would call is seen, and not run."""
    program = """
import sys
sys.modules["triton"] = None
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from srzoo_kernels.gram import op as gram
from srzoo_kernels.launch import triton_serves
from srzoo_kernels.upsample_argmax import op as argmax
from srzoo_kernels.upsample_cross_entropy import op as cross_entropy
cross_entropy.upsample_cross_entropy_library = lambda *operands: operands  # a fake has no labels to check
with FakeTensorMode():
    x = torch.empty(2, 8, 3, 5, device="cuda", dtype=torch.float16)
    assert x.is_cuda and not triton_serves(x)
    assert gram._gram(x)[0].is_cuda
    labels, probability = argmax._labels(x, 7, 9, False, True)
    assert labels.is_cuda and labels.dtype == torch.uint8 and probability.dtype == torch.float32
    labels, probability = argmax._labels(x, 7, 9, False, False)
    assert labels.shape == (2, 7, 9) and probability.shape == (0,)
    target = torch.empty(2, 7, 9, device="cuda", dtype=torch.int64)
    assert cross_entropy._loss(x, target, None, 255, 0.1, 0.7, 10, False, True)[4:] == (0.1, 0.7, 10, False, True)
"""
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_triton_is_imported_in_its_own_files_alone():
    importing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] == "triton" for name in names):
                importing.add(path.name)
    assert importing == {"_triton.py"}
