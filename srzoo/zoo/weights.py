"""Weights on disk: safetensors whose header carries the model's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..state_dicts import write_state_dict
from .config import ModelConfig

if TYPE_CHECKING:
    import torch

_HEADER = "srzoo"  # the key of the configuration in the file's metadata


def read_model_file(path: str | Path) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Configuration and float32 state dict of a file that `save_model` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a safetensors file, or not one of srzoo's.
    """
    with _opened(path, "pt") as file:
        config = _config(file, path)
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    return config, {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def read_config(path: str | Path) -> ModelConfig:
    """The configuration in a file that `save_model` wrote, by its header alone; errors as `read_model_file`."""
    with _opened(path, "numpy") as file:
        return _config(file, path)


def holds_model(path: str | Path) -> bool:
    """Whether a file is there and carries a configuration of srzoo's."""
    try:
        read_config(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def is_model_file(source: object) -> bool:
    """Whether what names a model is the path of one of srzoo's files rather than a name."""
    return isinstance(source, str) and source.endswith(".safetensors")


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
