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


def test_triton_is_imported_in_its_own_files_alone():
    importing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] == "triton" for name in names):
                importing.add(path.name)
    assert importing == {"_triton.py"}
