"""Recognize whose detector a file contains."""

from __future__ import annotations

from pathlib import Path

from ...state_dicts import read_checkpoint
from ..renaming import State
from . import detectron2, mmdet, torchvision
from .detector import ForeignDetector
from .pickles import is_plain_pickle, read_numpy_pickle


def read_foreign(path: str | Path) -> tuple[State, dict]:
    """Read a file of any of the projects: a state dict, and what else a training checkpoint contains.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read without running code, or has no state dict.
    """
    return (read_numpy_pickle(path), {}) if is_plain_pickle(path) else read_checkpoint(path)


def detector_in(state: State, others: dict) -> ForeignDetector | None:
    """The detector of another project in a state dict; None if the names are of no such project.

    Args:
        state: tensors by name.
        others: the other entries of the file.

    Raises:
        ValueError: it has an unknown backbone.
    """
    if detectron2.recognizes(state):
        return detectron2.read(state)
    if mmdet.recognizes(state):
        meta = others.get("meta")
        return mmdet.read(state, meta if isinstance(meta, dict) else {})
    if torchvision.recognizes(state):
        return torchvision.read(state)
    return None
