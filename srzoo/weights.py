"""Weights on disk: safetensors whose header carries the model's configuration."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .config import ModelConfig
from .files import replacing

if TYPE_CHECKING:
    import torch

DATA = Path(__file__).parent / "weights_data"
_HEADER = "srzoo"  # the key of the configuration in the file's metadata


@dataclass(frozen=True)
class Weights:
    """A published file.

    Attributes:
        file: name inside the package.
        sha256: of its bytes.
        parameters: count in the model, auxiliary head included.
        licence: the chain: our code, the backbone's weights, the data set.
        recipe: name of the recipe that made it.
    """

    file: str
    sha256: str
    parameters: int
    licence: tuple[str, ...]
    recipe: str

    @property
    def path(self) -> Path:
        return DATA / self.file

    def receipts(self) -> list[dict]:
        """What was measured on the file and how, a protocol each: written beside it by `srzoo eval --receipt`."""
        return [receipt for receipt in self._measured() if receipt["weights_sha256"] == self.sha256]

    def receipt(self) -> dict:
        """The first of `receipts`: single scale."""
        return self.receipts()[0]

    def repeats(self, receipt: dict) -> list[dict]:
        """The receipts of the same training from other seeds, by the protocol of one of the file's own.

        They were added to the same list from the files of those runs, and their recipes say what else differs.
        """
        own, told = receipt["seed"], ("dataset", "split", "protocol")
        same = [each for each in self._measured() if all(each[key] == receipt[key] for key in told)]
        return sorted((each for each in same if each["seed"] not in (None, own)), key=lambda each: each["seed"])

    def _measured(self) -> list[dict]:
        return json.loads(self.path.with_suffix(".json").read_text())


def read_published(weights: Weights) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Read a published file after checking its hash.

    Raises:
        ValueError: the file is missing or its bytes are not the published ones.
    """
    try:
        content = weights.path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"the weights file {weights.path} is missing; reinstall srzoo") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights.sha256:
        raise ValueError(
            f"{weights.path} has sha256 {digest[:12]}..., expected {weights.sha256[:12]}...: "
            "the file is damaged; reinstall srzoo"
        )
    return read_model_file(weights.path)


def read_model_file(path: str | Path) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Configuration and float32 state dict of a file that `save_model` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no safetensors file, or not one of ours.
    """
    with _opened(path, "pt") as file:
        config = _config(file, path)
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    return config, {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def read_config(path: str | Path) -> ModelConfig:
    """The configuration in a file that `save_model` wrote, by its header alone; errors as `read_model_file`."""
    with _opened(path, "numpy") as file:
        return _config(file, path)


def is_model_file(source: str) -> bool:
    """Whether the text that says which model is a file of ours rather than a name."""
    return source.endswith(".safetensors")


@contextmanager
def _opened(path: str | Path, framework: str) -> Iterator:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}")
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error})") from error


def _config(file, path: str | Path) -> ModelConfig:
    header = (file.metadata() or {}).get(_HEADER)
    if header is None:
        raise ValueError(
            f"{path} carries no srzoo configuration; load it with safetensors, or save it with srzoo.save_model"
        )
    return ModelConfig.from_json(header)


def write_model_file(config: ModelConfig, state: dict[str, torch.Tensor], path: str | Path) -> None:
    """The file that `read_model_file` reads; it appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_state_dict(state, path, {_HEADER: config.to_json()})


def write_state_dict(state: dict[str, torch.Tensor], path: str | Path, header: dict[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with replacing(path) as temporary:
            save_file({key: value.contiguous() for key, value in state.items()}, temporary, header)
    except SafetensorError as error:
        raise OSError(f"cannot write {path} ({error})") from error


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """A foreign state dict: ``.safetensors``, or a PyTorch file read without unpickling code.

    The content decides which, not the name. In a PyTorch file it may be an entry of a training snapshot, see
    `_ENTRIES`, and its names may begin with the ``module.`` of a data-parallel wrapper or that of a compiled model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds something else than tensors, or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}" + (": it is a folder" if path.is_dir() else ""))
    try:
        content = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    except Exception as error:  # a damaged file can make either reader raise anything
        raise ValueError(f"{path} is not a readable file of tensors ({_reason(error)})") from error
    entries = [content.get(entry) for entry in _ENTRIES] if isinstance(content, dict) else []
    state = next((each for each in (*entries, content) if _is_state_dict(each)), None)
    if state is None:
        raise ValueError(f"{path} holds no state dict of tensors")
    while prefix := next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


_ENTRIES = ("state_dict", "model", "model_state_dict", "net")
_PREFIXES = ("module.", "_orig_mod.")


def _is_safetensors(path: Path) -> bool:
    """By the brace that opens its header, behind the header's length; by its name where it is too short for one."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" if len(start) == 9 else path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _read_pickle(path: Path) -> object:
    """The file's objects, made by nothing but PyTorch's list of harmless types and numpy's plain numbers.

    Training snapshots keep a best score beside the tensors, often as a numpy number.
    """
    import numpy as np
    import torch

    scalar = np.float64(0).__reduce__()[0]
    names = [f"numpy.{package}.multiarray.scalar" for package in ("core", "_core")]
    numbers = [np.dtype, *{type(np.dtype(code)) for code in "efdbhilqBHILQ?"}, *((scalar, name) for name in names)]
    with torch.serialization.safe_globals(numbers), warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # about pickle protocols
        return torch.load(file, map_location="cpu", weights_only=True)  # a path it would judge by its suffix


def _is_state_dict(content: object) -> bool:
    import torch

    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())


def _reason(error: Exception) -> str:
    """Why a file could not be read, without PyTorch's advice to read it unsafely."""
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds {found[1]}, which could run code when read; save its state dict alone"
    if isinstance(error, (RuntimeError, OSError)) and str(error):
        return re.split(r"\. |\n", str(error))[0]
    return "it is damaged, or something else"


def misfit(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str:
    """What keeps ``state`` from being loaded as ``wanted``: the first problem and the number of others, or nothing."""
    problems = [f"lacks {key}" for key in wanted if key not in state]
    problems += [f"has an unexpected {key}" for key in state if key not in wanted]
    problems += [
        f"has {key} of shape {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return problems[0] + more if problems else ""
