"""Imports point one way, lowest layer first, and no files import each other in a circle, even inside functions."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A module may import from its own layer and from those below it.
LAYERS = [
    {"srzoo_kernels"},
    {
        *("srzoo.files", "srzoo.images", "srzoo.messages", "srzoo.options", "srzoo.state_dicts", "srzoo.web"),
        "srzoo.untrusted",
        "srzoo.labels",
    },
    {"srzoo.layers", "srzoo.data"},
    {"srzoo.backbones"},
    {"srzoo.models"},
    {"srzoo.zoo"},
    {"srzoo.tasks"},
    {"srzoo.recipes", "srzoo.export"},
    {"srzoo.predict", "srzoo.evaluate"},
    {"srzoo.train"},
    {"srzoo.video", "srzoo.hub", "srzoo.explanation", "srzoo.demo"},
    {"srzoo.cli"},
    {"srzoo.__main__", "hubconf"},
]
# Names that stand apart within one layer: none of a group may import another.
INDEPENDENT = [
    ("srzoo.layers", "srzoo.data"),
    ("srzoo.tasks.instance", "srzoo.tasks.semantic"),
    ("srzoo.predict", "srzoo.evaluate"),
    ("srzoo.recipes", "srzoo.export"),
    ("srzoo.tasks", "srzoo.export"),
    ("srzoo.video", "srzoo.hub", "srzoo.explanation"),
]
# What a module may not import although both lie in one layer: panoptic imports the two others, and they do not know it.
FORBIDDEN = {
    "srzoo.tasks.instance": "srzoo.tasks.panoptic",
    "srzoo.tasks.semantic": "srzoo.tasks.panoptic",
}


def _modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path
        for base in (ROOT, ROOT / "kernels")
        for path in [*base.glob("srzoo*/**/*.py"), *base.glob("hubconf.py")]
    }


MODULES = _modules()


def _lies_in(module: str, name: str) -> bool:
    """Whether a module is ``name``, or lies in the package ``name``."""
    return f"{module}.".startswith(f"{name}.")


def layer(module: str) -> int:
    for level, names in enumerate(LAYERS):
        if any(_lies_in(module, name) for name in names):
            return level
    raise AssertionError(f"{module} has no layer: add it to LAYERS")


def imports(module: str):
    """What a file imports, wherever in it, as absolute names."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def imported_modules(module: str) -> set[str]:
    """The files of the project that a file imports."""
    found = set()
    for name in imports(module):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found |= {name} - {"", "srzoo", module}  # srzoo/__init__ forwards names, and imports them when asked
    return found


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"srzoo"}))
def test_a_module_imports_nothing_from_above(module):
    roots = {name.split(".")[0] for name in imports(module)}
    assert not roots & {"tests", "bench"}, f"{module} imports {roots & {'tests', 'bench'}}"
    if module.startswith("srzoo_kernels"):
        assert not roots & {"srzoo", "timm"}, f"{module} imports {roots & {'srzoo', 'timm'}}"
    for imported in imported_modules(module):
        assert layer(imported) <= layer(module), f"{module} imports {imported}"
        for group in INDEPENDENT:
            sides = [next((name for name in group if _lies_in(each, name)), None) for each in (module, imported)]
            assert None in sides or sides[0] == sides[1], f"{module} imports {imported}"
        for name, other in FORBIDDEN.items():
            assert not (_lies_in(module, name) and _lies_in(imported, other)), f"{module} imports {imported}"


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of a graph, or nothing."""
    done: set[str] = set()
    way: list[str] = []

    def visit(node: str) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        way.append(node)
        found = next((circle for each in sorted(graph[node]) if (circle := visit(each))), [])
        way.pop()
        done.add(node)
        return found

    return next((circle for node in sorted(graph) if (circle := visit(node))), [])


def test_no_files_import_each_other_in_a_circle():
    # A package's __init__ gathers its files: it may import them, and they its names, but not the other way round.
    graph = {module: imported_modules(module) for module in MODULES if module != "srzoo"}
    assert not _circle(graph), " -> ".join(_circle(graph))


def test_circles_are_found():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_few_modules_lie_loose():
    loose = [path.stem for path in (ROOT / "srzoo").glob("*.py") if not path.stem.startswith("__")]
    assert len(loose) <= 7, loose
