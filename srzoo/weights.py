"""Weights on disk: safetensors whose header carries the model's configuration."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .config import ModelConfig
from .files import replacing

if TYPE_CHECKING:
    import torch
    from torch import nn

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

    def receipt(self) -> dict:
        """How the figures were measured: written beside the weights by `srzoo eval`."""
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
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error})") from error
    if header is None:
        raise ValueError(
            f"{path} carries no srzoo configuration; load it with safetensors, or save it with srzoo.save_model"
        )
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return ModelConfig.from_json(header), state


def save_model(model: nn.Module, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a model of ours with its configuration; the file appears whole or not at all.

    Args:
        model: made by `create_model` or `load_model`.
        path: the ``.safetensors`` file.
        dtype: storage type of the floating tensors, e.g. ``torch.float16``; default their own.
    """
    from safetensors.torch import save_file

    state = model.state_dict()
    if dtype is not None:
        state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    with replacing(path) as temporary:
        save_file(
            {key: value.contiguous() for key, value in state.items()}, temporary, {_HEADER: model.config.to_json()}
        )


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """A foreign state dict: ``.safetensors``, or a PyTorch file read without unpickling code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds something else than tensors, or cannot be read.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable file of tensors ({str(error).splitlines()[0]})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict of tensors")
    return state
