"""Checks of what an operator is given: each error names the argument, its value and the limit."""

from numbers import Integral

import torch
from torch import fx

from . import launch
from .operators import is_transformed

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def is_floating(x: torch.Tensor) -> bool:
    """Whether ``x`` has a floating dtype that PyTorch computes in, as it does not in those of 8 bits."""
    return x.dtype in _FLOATING


def check_feature_map(x: torch.Tensor, name: str = "x", channels: int | None = None) -> None:
    """Refuse anything but a floating ``(N, C, H, W)`` tensor with at least one channel and one pixel.

    Args:
        x: the tensor.
        name: of the argument, for the message.
        channels: the ``C`` that is expected; any with None.

    Raises:
        ValueError: another number of dimensions or channels, an integer or boolean dtype, a sparse layout, or an empty
            side.
        TypeError: torch.fx is tracing.
    """
    if isinstance(x, fx.Proxy):
        raise TypeError(
            f"torch.fx cannot trace what depends on the shape of {name}: make its module a leaf, as by "
            "create_feature_extractor(..., tracer_kwargs={'leaf_modules': [its class]}), or take torch.export"
        )
    if x.dim() != 4:
        side = "C" if channels is None else channels
        raise ValueError(f"expected {name} of shape (N, {side}, H, W), got {x.dim()} dimensions {tuple(x.shape)}")
    if not is_floating(x):
        raise ValueError(f"expected a floating {name}, got {x.dtype}; convert it first, e.g. {name}.float()")
    if x.layout is not torch.strided:
        raise ValueError(f"expected a dense {name}, got one of layout {x.layout}; convert it first with .to_dense()")
    if x.shape[2] == 0 or x.shape[3] == 0:
        raise ValueError(f"{name} has no pixels: height {x.shape[2]}, width {x.shape[3]}; both must be at least 1")
    if x.shape[1] == 0:
        raise ValueError(f"{name} has no channels: {tuple(x.shape)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"expected {name} of shape (N, {channels}, H, W), got {tuple(x.shape)}")


def check_affine(x: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Refuse operands other than a map ``(N, C, H, W)``, ``(N, C, C)`` and ``(N, C)`` or None, floating, on one device.

    Raises:
        ValueError: a shape, a dtype or a device does not fit.
    """
    check_feature_map(x)
    n, c = x.shape[:2]
    if matrix.shape != (n, c, c):
        raise ValueError(f"expected matrix of shape {(n, c, c)} for x {tuple(x.shape)}, got {tuple(matrix.shape)}")
    if bias is not None and bias.shape != (n, c):
        raise ValueError(f"expected bias of shape {(n, c)} for x {tuple(x.shape)}, got {tuple(bias.shape)}")
    for name, operand in (("matrix", matrix), ("bias", bias)):
        if operand is not None and not is_floating(operand):
            raise ValueError(f"expected a floating {name}, got {operand.dtype}")
    check_same_device(x, matrix=matrix, bias=bias)


def check_square(**matrices: torch.Tensor) -> None:
    """Refuse anything but square matrices of at least one row; the keywords are the names for the message."""
    for name, matrix in matrices.items():
        shape = matrix.shape
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
            raise ValueError(f"expected square matrices, got {name} of shape {tuple(matrix.shape)}")


def check_nodes(g: torch.Tensor, dim: int, nodes: int | None = None) -> None:
    """Refuse anything but a floating ``(N, nodes * dim)``: ``nodes`` of them, or any number with None."""
    if g.dim() != 2 or g.shape[1] == 0 or g.shape[1] % dim:
        raise ValueError(f"expected g of shape (N, nodes * {dim}), got {tuple(g.shape)}")
    if nodes is not None and g.shape[1] != nodes * dim:
        raise ValueError(f"g has {g.shape[1]} channels, but {nodes} nodes of {dim} channels need {nodes * dim}")
    if not is_floating(g):
        raise ValueError(f"expected a floating g, got {g.dtype}")


def check_logits(logits: torch.Tensor) -> None:
    """Refuse anything that is not a floating ``(N, K, h, w)`` tensor with at least one class and one pixel."""
    if logits.dim() == 4 and logits.shape[1] == 0:
        raise ValueError(f"logits have no classes: shape {tuple(logits.shape)}; the second side must be at least 1")
    check_feature_map(logits, "logits")


def check_size(size: tuple[int, int]) -> None:
    """Refuse an output size that is not two sides of at least 1."""
    sides = size if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or not all(isinstance(side, _WHOLE) and side >= 1 for side in sides):
        raise ValueError(f"size must be (H, W) of at least (1, 1), got {size!r}")


_WHOLE = (Integral, torch.SymInt)  # the latter where a graph is traced for any size


def check_whole(**values: int) -> None:
    """Refuse values, keyed by the names of their arguments, that are no integers of 64 bits."""
    for name, value in values.items():
        if not isinstance(value, _WHOLE) or not abs(value) < 1 << 63:
            raise ValueError(f"{name} must be an integer, got {value!r}")


def check_boxes(boxes: torch.Tensor, count: int | None = None) -> None:
    """Refuse anything but a floating ``(N, 4)``, with ``count`` boxes, or any number with None."""
    if boxes.dim() != 2 or boxes.shape[1] != 4 or (count is not None and boxes.shape[0] != count):
        raise ValueError(f"expected boxes of shape ({'N' if count is None else count}, 4), got {tuple(boxes.shape)}")
    if not is_floating(boxes):
        raise ValueError(f"expected floating boxes, got {boxes.dtype}; convert them first, e.g. boxes.float()")


def check_windows(windows: torch.Tensor, count: int | None = None) -> None:
    """Refuse anything but ``(N, 4)`` int64 on the CPU, with ``count`` windows, or any number with None."""
    if windows.dim() != 2 or windows.shape[1] != 4 or (count is not None and windows.shape[0] != count):
        expected = f"({'N' if count is None else count}, 4)"
        raise ValueError(f"expected windows of shape {expected}, got {tuple(windows.shape)}")
    if windows.dtype != torch.int64 or windows.device.type != "cpu":
        raise ValueError(f"expected windows of int64 on the CPU, got {windows.dtype} on {windows.device}")


def check_same_device(x: torch.Tensor, **others: torch.Tensor | None) -> None:
    """Refuse operands on several devices; the message names the first that differs."""
    device = x.device
    for name, other in others.items():
        if other is not None and other.device != device:
            raise ValueError(f"expected {name} on {x.device}, got {other.device}; move it with .to({str(x.device)!r})")


def check_same_dtype(x: torch.Tensor, *others: torch.Tensor) -> None:
    """Refuse operands of several dtypes."""
    for other in others:
        if other.dtype is not x.dtype:
            dtypes = ", ".join(str(each.dtype) for each in (x, *others))
            raise ValueError(f"expected operands of one dtype, got {dtypes}; convert them to one")


class NonFiniteError(ValueError):
    """An operand holds NaN or infinities, or what is computed from it would."""


def can_be_looked_at(x: torch.Tensor) -> bool:
    """Whether the values of ``x`` can be read without waiting for a device."""
    return not launch.is_on_gpu(x) and x.device.type == "cpu" and not is_transformed()


def check_finite(each: str = "image", /, **operands: torch.Tensor | None) -> None:
    """Refuse NaN and infinities in operands of ``(N, ...)``; on a GPU they pass, as looking would wait for it.

    Args:
        each: what there are ``N`` of, for the message.
        operands: by name.
    """
    for name, operand in operands.items():
        if operand is None or not can_be_looked_at(operand) or operand.isfinite().all():
            continue
        bad = operand.isfinite().logical_not_().flatten(1).sum(1)
        index = int(bad.nonzero()[0])
        raise NonFiniteError(
            f"{name} must be finite: in {each} {index} {bad[index]} of {operand[index].numel()} numbers are NaN or "
            f"infinite ({operand.dtype} holds up to {torch.finfo(operand.dtype).max:.2g}); "
            "check the input and the weights, or take a wider dtype"
        )
