"""The script for a machine with a GPU, on one whose ``python3`` does as it is told."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
# Measures by writing a line, and fails or is killed where the command names the file in $FAILS or $KILLED.
PYTHON = """#!/usr/bin/env bash
case "$*" in
*xdist*) exit 1 ;;
*"${FAILS:-none}"*) exit 1 ;;
*"${KILLED:-none}"*) kill -KILL $$ ;;
*convolutions.py*) echo new > bench/results/convolutions_gpu.csv ;;
*head.py*) echo new > bench/results/head_gpu.csv ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """Run a part in a copy with old results, and return the exit status and the files of ``$OUT``."""
    shutil.copytree(BENCH, tmp_path / "bench", ignore=shutil.ignore_patterns("results", "*.py"))
    (tmp_path / "bench" / "results").mkdir()
    for name in ("convolutions_gpu.csv", "head_gpu.csv", "sr_block_gpu.csv"):
        (tmp_path / "bench" / "results" / name).write_text("old\n")
        os.utime(tmp_path / "bench" / "results" / name, (0, 0))
    (tmp_path / "python3").write_text(PYTHON)
    (tmp_path / "python3").chmod(0o755)

    def script(*parts, **environment):
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", str(tmp_path / "bench" / "on_gpu.sh"), *parts],
            env={**os.environ, "PATH": path, "OUT": str(tmp_path / "out"), **environment},
            capture_output=True,
            check=False,
        )
        return done.returncode, {each.name: each.read_text() for each in (tmp_path / "out").iterdir()}

    return script


def test_what_was_measured_is_kept_and_older_results_are_not(run):
    assert run("operators") == (0, {"convolutions_gpu.csv": "new\n", "head_gpu.csv": "new\n"})


@pytest.mark.parametrize("how", ["FAILS", "KILLED"])  # for example for memory
def test_a_benchmark_that_fails_is_told_and_the_others_run(run, how):
    assert run("operators", **{how: "convolutions.py"}) == (1, {"head_gpu.csv": "new\n"})


def test_nothing_is_measured_where_the_tests_fail(run):
    assert run("operators", FAILS="pytest") == (1, {})


def test_a_part_that_there_is_not(run):
    assert run("everything") == (2, {})


def test_a_queue_without_its_data(run, monkeypatch):
    monkeypatch.delenv("SRZOO_CAMVID", raising=False)
    assert run("queue") == (2, {})


def test_the_tests_of_the_script_need_no_more_than_it_says():
    """Modules that are imported at the top of a test, as others need not be there."""
    script = (BENCH / "on_gpu.sh").read_text()
    needed = set(ast.literal_eval(script.partition("needed = ")[2].partition("\n")[0]))
    places = [BENCH.parent / word for word in script.split() if word.startswith("tests/")]
    files = [file for place in places for file in (place.glob("*.py") if place.is_dir() else [place])]
    files += [place / "conftest.py" for place in {file.parent for file in files} | {BENCH.parent / "tests"}]
    lacking = {}
    for file in filter(Path.exists, files):
        for node in ast.parse(file.read_text()).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            roots = {name.partition(".")[0] for name in names}
            unknown = roots - needed - sys.stdlib_module_names - {"srzoo", "srzoo_kernels", "tests"}
            if unknown:
                lacking[file.name] = unknown
    assert len(files) > 20 and not lacking
