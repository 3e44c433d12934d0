"""The operators' own tests once more, with Triton's interpreter running the real kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["test_gram.py", "test_channel_affine.py", "test_graph_reason.py"])
def test_kernels_pass_the_operators_tests(name):
    # Triton decides whether to interpret when a kernel is defined, so a process of its own it must be.
    root = HERE.parents[1]
    paths = os.pathsep.join([str(root), str(root / "kernels"), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / name)],
        check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
