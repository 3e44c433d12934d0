"""The documentation: its commands are parsed, its code runs, it is built without a warning."""

import re
import shlex
import textwrap
from pathlib import Path

import pytest

from srzoo import cli

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    """Code of a page; in a tab it is indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


def commands(page: str) -> list[list[str]]:
    """The words behind ``srzoo`` in each command of a page."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    called = (re.search(r"(?:^|&& |-m )srzoo (.*)", line) for line in lines)
    return [shlex.split(found[1], comments=True) for found in called if found]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_are_parsed(page, monkeypatch):
    for arguments in commands(page):
        seen = []
        monkeypatch.setattr(cli._COMMANDS[arguments[0]], "run", lambda options, seen=seen: seen.append(options) or 0)
        assert cli.main(arguments) == 0, arguments
        assert len(seen) == 1


# `test_readme.py` runs that of training, on images of its own.
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != "guides/train.md"])
def test_python_code_runs(page, run_python, request):
    result = run_python("-c", "\n".join(blocks(page, "python")), cwd=request.config.rootpath)
    assert result.returncode == 0, result.stderr


def test_every_command_and_public_name_has_its_place(request):
    import srzoo
    import srzoo_kernels

    reference = (DOCS / "reference" / "python.md").read_text() + (DOCS / "reference" / "layers.md").read_text()
    names = [*srzoo._HOME, "train", "evaluate"]
    missing = [
        name for name in names if not re.search(rf"^::: srzoo\.(layers\.|{name}\.api\.)?{name}$", reference, re.M)
    ]
    assert not missing
    operators = (DOCS / "reference" / "operators.md").read_text()
    assert not [name for name in srzoo_kernels.__all__ if name.islower() and f"srzoo_kernels.{name}\n" not in operators]
    assert all(f"{page}\n" in (request.config.rootpath / "mkdocs.yml").read_text() for page in PAGES)


@pytest.mark.parametrize("arguments", [[], ["figure"]])
def test_a_wrong_name_of_a_made_page_is_told(run_python, arguments):
    result = run_python(str(DOCS / "pages.py"), *arguments)
    assert result.returncode == 2 and "figures" in result.stderr and "Traceback" not in result.stderr


def test_every_result_has_its_command(request, run_python):
    result = run_python(str(DOCS / "pages.py"), "figures")
    assert result.returncode == 0, result.stderr
    rows = [re.split(r"(?<!\\) \| ", line) for line in result.stdout.splitlines()[2:]]
    assert {len(row) for row in rows} == {3}
    claimed = [name for row in rows for name in re.findall(r"`([\w.]+\.(?:csv|png))`", row[2])]
    files = {path.name for path in (request.config.rootpath / "bench" / "results").glob("*.[cp][sn][vg]")}
    assert sorted(claimed) == sorted(files)
    of = {row[2]: row[0] for row in rows}
    assert next(command for found, command in of.items() if "`detection_ops.csv`" in found).startswith(
        "| `python bench/detection_ops.py"
    )
    assert "--data.root" in next(command for found, command in of.items() if "`robustness.csv`" in found)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(request, run_python, tmp_path):
    """With the models of two datasets, which have every architecture: each is built to be counted."""
    code = (
        "import srzoo; from mkdocs.__main__ import cli\n"
        "names = [name for name in srzoo.list_models() if name.endswith(('_camvid', '_coco'))]\n"
        "srzoo.list_models = lambda: names\n"
        f"cli(['build', '--strict', '--site-dir', {str(tmp_path / 'site')!r}])"
    )
    result = run_python("-c", code, cwd=request.config.rootpath)
    assert result.returncode == 0, result.stderr
    pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html") if path.parent.name != "try"]
    assert not [page for page in pages if "```" in page or "<p>===" in page]  # markup of an extension that is not there
    text = (tmp_path / "site" / "models" / "index.html").read_text()
    assert "srnet_lite0_camvid" in text and "on val" in text
    assert "--calibrate DIR" in (tmp_path / "site" / "reference" / "commands" / "index.html").read_text()
    assert "sr_block.csv" in (tmp_path / "site" / "reference" / "figures" / "index.html").read_text()
