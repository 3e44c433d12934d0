"""State dicts on disk: safetensors files, and PyTorch files, which are read without running code."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .files import replacing
from .messages import and_more, one_line, visible

if TYPE_CHECKING:
    import torch


def write_state_dict(state: dict[str, torch.Tensor], path: str | Path, header: dict[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file, completely or not at all.

    Args:
        state: tensors by name, of any strides.
        path: the file.
        header: metadata for the header of the file.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with replacing(path) as temporary:
            save_file({key: value.contiguous() for key, value in state.items()}, temporary, header)
            _order_header(temporary)
    except SafetensorError as error:
        raise OSError(f"cannot write {path} ({error})") from error


def _order_header(path: Path) -> None:
    """Sort the metadata of a safetensors file, which come in random order, so that equal content is equal bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" not in header:
            return
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(content) <= length:
            file.seek(8)
            file.write(content.ljust(length))  # with blanks, as safetensors pads it


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict of any origin: a safetensors file, or a PyTorch file, without running code in it.

    The format is detected from the content, not from the name. In a PyTorch file the state dict may also be an entry
    "state_dict", "model", "model_state_dict" or "net" of a training checkpoint. The prefixes ``module.`` of
    data-parallel wrappers, ``_orig_mod.`` of compiled models and ``model.`` of PyTorch Lightning's modules are removed
    from the keys.

    Returns:
        Tensors on the CPU by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or does not hold a state dict of tensors.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """As `read_state_dict`, with the other entries of a training checkpoint, such as "meta", as the second value."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}" + (": it is a folder" if path.is_dir() else ""))
    try:
        content = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    except Exception as error:  # a damaged file can make both readers raise anything
        raise ValueError(f"{path} is not a readable file of tensors ({reason(error)})") from error
    entries = [content.get(entry) for entry in _ENTRIES] if isinstance(content, dict) else []
    state = next((each for each in (*entries, content) if _is_state_dict(each)), None)
    if state is None:
        inner = [visible(str(key), 40) for key, value in content.items() if _is_state_dict(value)] if entries else []
        found = f" of its own, but {', '.join(inner[:4])}; save one of them alone with torch.save" if inner else ""
        raise ValueError(f"{path} holds no state dict of tensors{found}")
    claimed = 0
    for key, value in state.items():
        problem = _unusual(value)
        claimed += 0 if problem else max(0, value.nbytes - value.untyped_storage().nbytes())
        if claimed > _CLAIMED:
            problem = f"expanded to {tuple(value.shape)} from {value.untyped_storage().nbytes()} bytes"
        if problem:
            raise ValueError(f"{path}: {visible(key, 100)} is {problem}; save it as a dense tensor on the CPU")
    others = {} if state is content else {key: value for key, value in content.items() if value is not state}
    while prefix := next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state, others


_CLAIMED = 1 << 30  # bytes that expanded tensors may take beyond those in the file
_ENTRIES = ("state_dict", "model", "model_state_dict", "net")


_PREFIXES = ("module.", "_orig_mod.", "model.")


def _is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors: byte 9 opens the JSON header, after its length; by the name if it is shorter."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" if len(start) == 9 else path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _read_pickle(path: Path) -> object:
    """Unpickle only what ``torch.load(weights_only=True)`` allows, and numpy numbers.

    Training checkpoints often hold their best score as a numpy number.
    """
    import numpy as np
    import torch

    scalar = np.float64(0).__reduce__()[0]
    names = [f"numpy.{package}.multiarray.scalar" for package in ("core", "_core")]
    numbers = [np.dtype, *{type(np.dtype(code)) for code in "efdbhilqBHILQ?"}, *((scalar, name) for name in names)]
    with torch.serialization.safe_globals(numbers), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns about old pickle protocols
        return load_checked(path)


def load_checked(path: Path) -> object:
    """What ``torch.save`` wrote to a file, on the CPU, by ``torch.load(weights_only=True)``, of an undamaged file.

    Raises:
        ValueError: the file is damaged.
        Exception: whatever PyTorch raises for another format; `reason` says it in a line.
    """
    import torch

    _refuse_damage(path)
    with path.open("rb") as file:  # a path would be judged by its suffix
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except ValueError as error:  # bytes that are no text, or digits that are no number
            raise ValueError("it is damaged, or of another format") from error


def _refuse_damage(path: Path) -> None:
    """Check the records of a PyTorch file, which is a zip archive: PyTorch does not look at their checksums.

    Older files are no archives, and have no checksums.

    Raises:
        ValueError: a record differs from its checksum, is compressed, which PyTorch never does and which could stand
            for any amount of memory, or is a folder, which PyTorch reads as nothing; or the archive is damaged.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            odd = [each.filename for each in records if each.compress_type or _hidden(each)]
            damaged = None if odd else archive.testzip()
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"it is damaged: {one_line(error)}") from error
    if odd:
        raise ValueError(
            f"it is damaged, or not written by torch.save: its record {visible(odd[0], 60)} is compressed or a folder"
        )
    if damaged is not None:
        raise ValueError(f"it is damaged: its record {visible(damaged, 60)} differs from its checksum")


def _hidden(record: zipfile.ZipInfo) -> bool:
    """Whether a record's attributes call it a folder, for which PyTorch reads nothing, though its name does not."""
    return bool(record.external_attr & 0x10) and not record.is_dir()


def _unusual(value: torch.Tensor) -> str:
    """What a tensor in a file is, if it is not a dense one with values; empty if it is."""
    import torch

    if value.is_nested or value.layout != torch.strided:
        return "nested" if value.is_nested else f"a {value.layout} tensor"
    if value.is_quantized or value.is_meta:
        return "quantized" if value.is_quantized else "a meta tensor, which has no values"
    return ""


def _is_state_dict(content: object) -> bool:
    import torch

    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())


def reason(error: Exception) -> str:
    """Why a file cannot be read, without PyTorch's advice to read it unsafely."""
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds {visible(found[1], 100)}, which could run code when read; save its state dict alone"
    if isinstance(error, (RuntimeError, OSError, ValueError)) and str(error):
        said = visible(re.split(r"\. |\n", str(error))[0], 200)
        return f"it is damaged: {said}" if "PytorchStreamReader" in said else said
    return "it is damaged, or of another format"


def not_finite(state: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first floating tensor that holds NaN or infinity; None if there is none."""
    for key, value in state.items():
        # A sum is the quicker test. It can overflow for finite values, so it alone does not decide.
        if value.is_floating_point() and not value.sum().isfinite() and not value.isfinite().all():
            return key
    return None


def misfit(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str:
    """Why ``state`` cannot be loaded as ``wanted``: the first problem and the number of others; empty if it can."""
    problems = [f"lacks {key}" for key in wanted if key not in state]
    problems += [f"has an unexpected {visible(key, 100)}" for key in state if key not in wanted]
    problems += [
        f"has {key} of shape {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    return and_more(problems)
