"""The paper's figures as commands: what is invalid ends in one line, before anything is written."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fig1a.py", "--model", "srnet_mask_rcnn_lite0_facade"], "instance"),
        (["fig1a.py", "--data.root", "nowhere"], "nowhere"),
        (["fig3.py", "--nodes"], "--nodes"),
        (["fig5.py", "nosuch.jpg"], "nosuch.jpg: no such file"),
        (["fig6b.py", "--model", "srnet_r50_camvid"], "srnet_r50_camvid"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_invalid_input_is_one_line(request, arguments, said):
    pytest.importorskip("matplotlib")
    bench = request.config.rootpath / "bench"
    before = {path: path.stat().st_mtime_ns for path in (bench / "results").iterdir()}
    command = [sys.executable, str(bench / arguments[0]), *arguments[1:]]
    result = subprocess.run(command, capture_output=True, text=True)
    line = result.stderr.strip().splitlines()[-1]
    assert result.returncode and said in line and line.startswith(f"{arguments[0]}: ")
    assert "Traceback" not in result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (bench / "results").iterdir()}
