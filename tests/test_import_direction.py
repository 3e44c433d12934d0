"""Imports point one way: the layers, lowest first; a module may import from its own layer and those below."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"srzoo_kernels"},
    {
        "srzoo.data.labels",
        "srzoo.data.scene_labels",
        "srzoo.files",
        "srzoo.transform",
        "srzoo.images",
        "srzoo.protocol",
        "srzoo.visualize",
    },
    {"srzoo.config", "srzoo.registry"},
    {"srzoo.weights"},
    {"srzoo.published", "srzoo.layers", "srzoo.backbones"},
    {"srzoo.models"},
    {"srzoo.factory", "srzoo.folding", "srzoo.insertion", "srzoo.tiling", "srzoo.inference"},
    {"srzoo.info", "srzoo.data", "srzoo.convert"},
    {"srzoo.predict", "srzoo.train"},
    {"srzoo.cli"},
    {"srzoo.__main__", "hubconf"},
]


def layer(module: str) -> int:
    """Of the longest prefix that a layer names."""
    prefixes = [
        (len(name), level)
        for level, names in enumerate(LAYERS)
        for name in names
        if f"{module}.".startswith(f"{name}.")
    ]
    assert prefixes, f"{module} has no layer: add it to LAYERS"
    return max(prefixes)[1]


def imports(path: Path, module: str):
    """Our modules that a file imports, wherever in it."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            name for name in names if name.split(".")[0] in ("srzoo", "srzoo_kernels", "tests", "bench", "timm")
        )


def modules():
    for base in (ROOT, ROOT / "kernels"):
        for path in [*base.glob("srzoo*/**/*.py"), *base.glob("hubconf.py")]:
            yield path, ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize(("path", "module"), [pytest.param(p, m, id=m) for p, m in modules() if m != "srzoo"])
def test_a_module_imports_nothing_from_above(path, module):
    for imported in imports(path, module):
        root = imported.split(".")[0]
        assert root not in ("tests", "bench"), f"{module} imports {imported}"
        if module.startswith("srzoo_kernels"):
            assert root == "srzoo_kernels", f"{module} imports {imported}"
        elif root != "timm" and imported.startswith(("srzoo.", "srzoo_kernels")):
            target = imported
            if target.startswith("srzoo.") and not any(
                f"{target}.".startswith(f"{n}.") for names in LAYERS for n in names
            ):
                continue  # a name that srzoo/__init__ forwards
            assert layer(target) <= layer(module), f"{module} imports {imported}"
