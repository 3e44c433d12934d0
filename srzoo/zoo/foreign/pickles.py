"""Read detectron2's ``.pkl`` files, pickles of numpy arrays, without running code in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

# All that a dict of numpy arrays consists of. numpy 2 renamed its package "core".
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
_TORCH_MAGIC = b"\x8a\x0a"  # after the protocol, PyTorch's older files begin with a long integer


def is_plain_pickle(path: str | Path) -> bool:
    """Whether a file is a pickle by its first bytes, and not one of PyTorch's."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        start = file.read(4)
    return start[:1] == b"\x80" and start[2:] != _TORCH_MAGIC


def read_numpy_pickle(path: str | Path) -> dict[str, torch.Tensor]:
    """The arrays of a pickle ``{"model": {name: array}}``, as tensors.

    Raises:
        ValueError: the file contains anything but containers, numbers, text and numpy arrays, and the message names it;
            or is damaged, or has no such dict.
    """
    try:
        with Path(path).open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except _ForbiddenError as error:
        raise ValueError(f"{path} holds {error}, which could run code when read; save its arrays alone") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{path} is not a readable pickle of arrays; it is damaged, or of another format") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not model:
        raise ValueError(f"{path} has no dict of arrays under 'model'")
    return {_text(path, key): _tensor(path, key, value) for key, value in model.items()}


class _ForbiddenError(Exception):
    """A global that is not on the list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise _ForbiddenError(f"{module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: object):
        raise _ForbiddenError("a persistent id")


def _text(path: str | Path, key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{path} has the key {key!r} in its dict of arrays; expected names")
    return key


def _tensor(path: str | Path, key: str, value: object) -> torch.Tensor:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise ValueError(f"{path} has {found} at {key}; expected an array of numbers")
    try:
        # Native byte order, and memory of its own that can be written to.
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise ValueError(f"{path} has an array of {value.dtype} at {key}, which PyTorch does not have") from error
