"""Weights files: safetensors with the model's configuration in the header."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import one_line, visible
from ..state_dicts import not_finite, write_state_dict
from .config import ModelConfig
from .run_files import meant_by

if TYPE_CHECKING:
    import torch

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_HEADER, _RECIPE = "srzoo", "recipe"  # the keys of the configuration and of the recipe in the file's metadata


def read_model_file(path: str | Path) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Read a file that `save_model` wrote.

    Returns:
        The configuration, and the state dict with floating tensors in float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not readable, or not one of srzoo's, or a weight is not a finite number.
    """
    with _opened(path, "pt") as file:
        config = _config(file, path)
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    if broken := not_finite(state):
        raise ValueError(
            f"{path}: {visible(broken, 100)} has values that are not finite, so its results would be meaningless; "
            "use a file from before its training diverged"
        )
    return config, state


def read_config(path: str | Path) -> ModelConfig:
    """Read only the configuration from a file that `save_model` wrote; errors as in `read_model_file`."""
    with _opened(path, "numpy") as file:
        return _config(file, path)


def holds_model(path: str | Path) -> bool:
    """Whether the file exists and is one of srzoo's."""
    try:
        read_config(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def is_model_file(source: object) -> bool:
    """Whether a string that specifies a model is the path of a file, not a name."""
    return isinstance(source, str) and source.endswith(".safetensors")


def is_onnx_file(source: object) -> bool:
    """Whether a model is given as the path of an ONNX file."""
    return isinstance(source, (str, Path)) and str(source).endswith(".onnx")


@contextmanager
def _opened(path: str | Path, framework: str) -> Iterator:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}{meant_by(path)}")
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        meant = "" if is_model_file(str(path)) else meant_by(path)
        raise ValueError(f"{path} is not a readable safetensors file ({one_line(error)}){meant}") from error


def _config(file, path: str | Path) -> ModelConfig:
    header = (file.metadata() or {}).get(_HEADER)
    if header is None:
        raise ValueError(
            f"{path} has no srzoo configuration; load it with safetensors, or save the model with srzoo.save_model"
        )
    return ModelConfig.from_json(header, str(path))


def read_run_recipe(path: str | Path) -> str | None:
    """The recipe that `write_model_file` stored in a file, as YAML; None if it has none. Errors as in `read_config`."""
    with _opened(path, "numpy") as file:
        _config(file, path)
        return file.metadata().get(_RECIPE)


def count_parameters(path: str | Path) -> int:
    """The number of parameters in a file, by the shapes in its header; errors as in `read_config`.

    Statistics of BatchNorm are not parameters.
    """
    with _opened(path, "numpy") as file:
        _config(file, path)
        names = [name for name in file.keys() if not name.endswith(_STATISTICS)]  # noqa: SIM118 (not a dict)
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def write_model_file(
    config: ModelConfig, state: dict[str, torch.Tensor], path: str | Path, recipe: str | None = None
) -> None:
    """Write a file for `read_model_file`, atomically.

    Args:
        config: the configuration of the model.
        state: its tensors.
        path: the file.
        recipe: the recipe that trained it, as YAML.

    Raises:
        ValueError: a value of the configuration is out of range, so that `read_model_file` would refuse the file.
        OSError: the file cannot be written.
    """
    header = config.to_json()
    ModelConfig.from_json(header, f"cannot write {path}: the configuration")
    write_state_dict(state, path, {_HEADER: header, **({} if recipe is None else {_RECIPE: recipe})})
