"""What importing and running the operators may need, and which file imports which."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "kernels" / "srzoo_kernels"


def test_everything_runs_without_triton():
    """A CPU build of PyTorch has none, nor has one for Windows with a GPU.

    The GPU is a fake one, so what the kernels would call is seen, and not run.
    """
    program = """
import sys
sys.modules["triton"] = None  # importing it now raises ImportError
import torch, srzoo_kernels
x = torch.randn(1, 32, 3, 5, requires_grad=True)
second, first = srzoo_kernels.gram(x)
z = srzoo_kernels.graph_reason(first, torch.eye(4), torch.eye(8))
srzoo_kernels.channel_affine(x, second * z[:, None]).sum().backward()
assert x.grad.isfinite().all()
srzoo_kernels.upsample_cross_entropy(x, srzoo_kernels.upsample_argmax(x, (8, 8))).backward()
masks, windows = torch.rand(2, 5, 5), torch.tensor([[0, 0, 7, 5], [1, 2, 9, 5]])
pixels = srzoo_kernels.paste_masks(masks, windows.float(), windows)
labels, is_stuff = torch.zeros(5, 9, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
assert srzoo_kernels.panoptic_merge(pixels, windows, labels, is_stuff)[1].shape == (4,)

from torch._subclasses.fake_tensor import FakeTensorMode
from srzoo_kernels.gram import op as gram
from srzoo_kernels.launch import triton_serves
from srzoo_kernels.paste_masks import op as paste
from srzoo_kernels.upsample_argmax import op as argmax
from srzoo_kernels.upsample_bilinear import op as bilinear
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
    resized = bilinear._resize(x.to(memory_format=torch.channels_last), 7, 9, False)
    assert resized.is_cuda and resized.shape == (2, 8, 7, 9) and resized.is_contiguous()
    masks, boxes = (torch.empty(shape, device="cuda") for shape in ((2, 5, 5), (2, 4)))
    assert paste._paste(masks, boxes, windows, 0.5, 0).is_cuda
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


def module_of(path: Path) -> str:
    """``srzoo_kernels.gram.op`` for ``gram/op.py``, ``srzoo_kernels.gram`` for ``gram/__init__.py``."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """The modules of the package that a file imports, at its top or inside a function."""
    package = module_of(path).split(".")[: None if path.name == "__init__.py" else -1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "kernels_of":
            names = [".".join([*package, "_triton"])]
        else:
            continue
        # `from package import module` names a module, `from module import name` something inside one.
        found.update(name if name in modules else name.rpartition(".")[0] for name in names)
    return found & modules - {module_of(path)}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The first circle of imports, as a path, or nothing."""
    done = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            for imported in sorted(graph[module]):
                if circle := visit(imported, [*path, module]):
                    return circle
            done.add(module)
        return []

    return next((circle for module in sorted(graph) if (circle := visit(module, []))), [])


def test_no_two_files_import_each_other():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    paths = list(PACKAGE.rglob("*.py"))
    modules = {module_of(path) for path in paths}
    graph = {module_of(path): imports_of(path, modules) for path in paths}
    argmax = {name.removeprefix("srzoo_kernels."): graph[name] for name in graph if "upsample_argmax" in name}
    assert "srzoo_kernels.upsample_argmax._triton" in argmax["upsample_argmax.op"]  # by `kernels_of`
    assert "srzoo_kernels.paste_masks._triton" in graph["srzoo_kernels.paste_masks.op"]  # inside a function
    assert "srzoo_kernels.bilinear._triton" in argmax["upsample_argmax._triton"]
    assert circle_in(graph) == []
