"""Shared fixtures. Two threads, because a test and its subprocesses may share two cores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srzoo_kernels.launch import interpreted

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

torch.set_num_threads(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What runs on a GPU where there is one has the mark "gpu": ``pytest -m gpu`` is for a person with a card."""
    for item in items:
        if "device" in getattr(item, "fixturenames", ()):
            item.add_marker("gpu")


@pytest.fixture
def device() -> str:
    """Either "cuda", where there is a GPU and kernels are compiled, or "cpu"."""
    return "cuda" if torch.cuda.is_available() and not interpreted() else "cpu"


@pytest.fixture
def run_python(tmp_path):
    """Run Python in a subprocess, in an empty folder, with the packages of this checkout."""

    def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path = tmp_path, timeout: float = 240):
        path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "", **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def examples() -> Path:
    """The folder of the three street frames."""
    return EXAMPLES


@pytest.fixture
def camvid() -> Path:
    """The real dataset, which is not in the repository."""
    root = os.environ.get("SRZOO_CAMVID")
    if not root:
        pytest.skip("set SRZOO_CAMVID to CamVid in the SegNet tutorial's layout")
    return Path(root)


@pytest.fixture
def facade() -> Path:
    """Photographs of buildings with instances and panoptic segments, which are not in the repository."""
    root = os.environ.get("SRZOO_FACADE")
    if not root:
        pytest.skip("set SRZOO_FACADE to the building facades, with COCO's instances and panoptic files")
    return Path(root)


@pytest.fixture
def small_camvid(tmp_path) -> Path:
    """The three example frames in CamVid's layout."""
    root = tmp_path / "camvid"
    for split, names in {"train": ("street", "crossing"), "val": ("cyclist",)}.items():
        for folder, source in ((split, EXAMPLES), (split + "annot", EXAMPLES / "annotations")):
            (root / folder).mkdir(parents=True)
            for name in names:
                shutil.copy(source / f"{name}.png", root / folder)
    return root


@pytest.fixture
def write_image():
    """Write noise, another for each name, as an image file; the suffix of the path decides the format."""

    def write(path: Path, height: int = 7, width: int = 11) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([*path.name.encode()]).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        return path

    return write


@pytest.fixture
def write_mask():
    """Write a mask whose rows are constant: ``(H,)`` integers or ``(H, 3)`` colours."""

    def write(path: Path, rows, width: int = 11, dtype=np.uint8) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat(np.asarray(rows, dtype)[:, None], width, axis=1)).save(path)
        return path

    return write


@pytest.fixture
def write_pairs(tmp_path, write_image, write_mask):
    """Write a folder ``data/`` of images and masks, each mask given by its rows; returns the path."""

    def write(*masks, names=None, **options) -> Path:
        for i, rows in enumerate(masks):
            name = names[i] if names else f"f{i}"
            write_image(tmp_path / "data" / "images" / f"{name}.jpg", height=len(rows))
            write_mask(tmp_path / "data" / "masks" / f"{name}.png", rows, **options)
        return tmp_path / "data"

    return write
