"""The notebooks run from their first cell to the last."""

import os
import shutil
from pathlib import Path

import pytest
import torch

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
_LARGEST = 2 << 20  # bytes


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_committed_and_small(path):
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert path.stat().st_size < _LARGEST
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) / 2
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    """In a checkout's copy of what the notebooks read, so that nothing is written beside it."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    root = path.parents[1]
    shutil.copytree(root / "examples", tmp_path / "examples")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(root / "kernels")]))
    # As tests/conftest.py has it: more threads than cores wait for each other, ten times as long.
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    notebook = nbformat.read(path, 4)
    if path.stem == "fine_tune":  # a tenth of its epochs: what they learn is in the outputs
        trained = next(cell for cell in notebook.cells if "srzoo.train(" in cell.source and cell.cell_type == "code")
        assert "epochs=30," in trained.source
        trained.source = trained.source.replace("epochs=30,", "epochs=3,")
    kept = {"metadata": {"path": str(tmp_path / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=kept).execute()
