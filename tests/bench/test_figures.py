"""The paper's figures as commands: what is invalid ends in one line, before anything is written."""

import runpy
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
def test_invalid_input_is_one_line(request, monkeypatch, capsys, arguments, said):
    """In this process: a figure's imports take seconds."""
    pytest.importorskip("matplotlib")
    bench = request.config.rootpath / "bench"
    before = {path: path.stat().st_mtime_ns for path in (bench / "results").iterdir()}
    script = str(bench / arguments[0])
    monkeypatch.setattr(sys, "argv", [script, *arguments[1:]])
    monkeypatch.syspath_prepend(str(bench))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    # What argparse says is printed already, with the status 2; Python prints a status that is text.
    line = ended.value.code if isinstance(ended.value.code, str) else capsys.readouterr().err.splitlines()[-1]
    assert said in line and line.startswith(f"{arguments[0]}: ") and "\n" not in line
    assert before == {path: path.stat().st_mtime_ns for path in (bench / "results").iterdir()}
