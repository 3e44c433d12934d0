"""The operators' own tests once more, with Triton's interpreter running the real kernels."""

from pathlib import Path

import pytest

pytest.importorskip("triton")
HERE = Path(__file__).parent
FILES = ["test_gram.py", "test_channel_affine.py", "test_graph_reason.py", "test_squeeze_reasoning.py",
         "test_squeeze_reasoning_training.py", "test_upsample_kernels.py", "test_upsample_bilinear.py",
         "test_conv2d_act.py", "test_paste_masks.py", "test_panoptic_merge.py"]  # fmt: skip


def test_kernels_pass_the_operators_tests(run_python):
    # Triton decides whether to interpret when a kernel is defined, so a process of its own it must be: one for all,
    # whose workers would each import everything once more.
    files = [str(HERE / name) for name in FILES]
    done = run_python(
        *("-m", "pytest", "-p", "no:cacheprovider", *files),
        env={"TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""},
        cwd=HERE.parents[1],
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
