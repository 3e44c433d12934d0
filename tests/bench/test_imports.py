"""What the benchmarks import from the package is there: many of them run only by hand."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "bench").glob("*.py"))


def further_packages() -> set[str]:
    """The modules of the extras in pyproject.toml."""
    extras = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return {name.replace("-", "_") for name in re.findall(r'"([\w-]+)', extras)} - {"srzoo"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_imports_from_the_package_exist(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("srzoo", "srzoo_kernels"):
            module = importlib.import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")


@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if "def main" in path.read_text()], ids=lambda path: path.stem
)
def test_help_is_asked_for_before_anything_is_measured(path):
    """A script without options overwrote its committed results when it was called with --help."""
    main = next(node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == "main")
    statements = [ast.unparse(each) for each in main.body]
    first = next(text for text in statements if not text.startswith(("parser = ", "parser.add_")))
    assert first.startswith(("options = ", "argparse.ArgumentParser(")) and first.endswith(".parse_args()"), first


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_needs_no_further_package(path):
    """Packages of the extras, and what imports them, are imported where they are used."""
    names = further_packages()
    for node in ast.parse(path.read_text()).body:
        imported = [each.name for each in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
        for name in imported:
            assert name != "srzoo.train.loop" and (name or "").partition(".")[0] not in names
