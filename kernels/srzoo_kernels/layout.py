"""The checks and the views of a feature map that every operator shares."""

from collections.abc import Callable, Iterator
from functools import wraps

import torch

_PIXELS_WIDENED = 1 << 12  # 8 MB of float32 for 512 channels, which the caches and the allocator keep


def check_feature_map(x: torch.Tensor, name: str = "x") -> None:
    """Refuse anything that is not a floating ``(N, C, H, W)`` tensor with at least one channel and one pixel."""
    if x.dim() != 4:
        raise ValueError(f"expected {name} of shape (N, C, H, W), got {x.dim()} dimensions {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"expected a floating {name}, got {x.dtype}; convert it first, e.g. {name}.float()")
    if x.shape[2] == 0 or x.shape[3] == 0:
        raise ValueError(f"{name} has no pixels: height {x.shape[2]}, width {x.shape[3]}; both must be at least 1")
    if x.shape[1] == 0:
        raise ValueError(f"{name} has no channels: {tuple(x.shape)}")


def check_same_device(x: torch.Tensor, **others: torch.Tensor | None) -> None:
    """Refuse operands on several devices; the message names the first that differs."""
    for name, other in others.items():
        if other is not None and other.device != x.device:
            raise ValueError(f"expected {name} on {x.device}, got {other.device}; move it with .to({str(x.device)!r})")


def check_same_dtype(x: torch.Tensor, *others: torch.Tensor) -> None:
    """Refuse operands of several dtypes."""
    dtypes = [each.dtype for each in (x, *others)]
    if len(set(dtypes)) > 1:
        raise ValueError(f"expected operands of one dtype, got {', '.join(map(str, dtypes))}; convert them to one")


class NonFiniteError(ValueError):
    """An operand holds NaN or infinities, or what is computed from it would."""


def check_finite(**operands: torch.Tensor | None) -> None:
    """Refuse NaN and infinities in operands of ``(N, ...)``; on a GPU they pass, as looking would wait for it."""
    for name, operand in operands.items():
        if operand is None or operand.device.type != "cpu" or operand.isfinite().all():
            continue
        bad = operand.isfinite().logical_not_().flatten(1).sum(1)
        image = int(bad.nonzero()[0])
        raise NonFiniteError(
            f"{name} must be finite: in image {image} {bad[image]} of {operand[image].numel()} numbers are NaN or "
            f"infinite ({operand.dtype} holds up to {torch.finfo(operand.dtype).max:.2g}); "
            "check the input and the weights, or take a wider dtype"
        )


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether the channels of ``x`` lie next to each other in memory and its pixels do not."""
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def dense(x: torch.Tensor) -> torch.Tensor:
    """``x`` itself if it is contiguous or channels_last, else a contiguous copy (an expanded gradient, a crop)."""
    return x if is_channels_last(x) else x.contiguous()


def empty_map(x: torch.Tensor) -> torch.Tensor:
    """An uninitialised map of ``x``'s shape, dtype and memory format (contiguous unless channels_last)."""
    return torch.empty_like(x, memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format)


def pixel_strides(x: torch.Tensor) -> tuple[int, int, int]:
    """Strides of a `dense` map between images, channels and pixels (row-major over ``H`` and ``W``)."""
    c, pixels = x.shape[1], x.shape[2] * x.shape[3]
    return (c * pixels, 1, c) if is_channels_last(x) else (c * pixels, pixels, 1)


def accumulation_dtype(x: torch.Tensor) -> torch.dtype:
    """float32 for half precisions, since a sum over 1024x2048 pixels overflows float16; else ``x``'s own."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def label_dtype(classes: int) -> torch.dtype:
    """Of class ids: uint8 where it can hold every one of ``classes``, else int64."""
    return torch.uint8 if classes <= 256 else torch.int64


def widened_parts(matrix: torch.Tensor, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    """The pixels of ``(N, C, P)`` in ``dtype``: all at once if that is theirs, else copied a few at a time.

    For a CPU, where a sum of half precisions in float32 is ten times slower than one of float32.
    """
    step = matrix.shape[2] if matrix.dtype == dtype else _PIXELS_WIDENED
    return (part.to(dtype) for part in matrix.split(step, 2))


def check_logits(logits: torch.Tensor) -> None:
    """Refuse anything that is not a floating ``(N, K, h, w)`` tensor with at least one class and one pixel."""
    if logits.dim() == 4 and logits.shape[1] == 0:
        raise ValueError(f"logits have no classes: shape {tuple(logits.shape)}; the second side must be at least 1")
    check_feature_map(logits)


def check_size(size: tuple[int, int]) -> None:
    """Refuse an output size that is not two sides of at least 1."""
    if len(size) != 2 or size[0] < 1 or size[1] < 1:
        raise ValueError(f"size must be (H, W) of at least (1, 1), got {tuple(size)}")


def without_autocast(kernel: Callable) -> Callable:
    """Run an operator's kernel in its operands' dtypes: autocast would reach the products inside, and round them."""

    @wraps(kernel)
    def run(*operands):
        device_type = operands[0].device.type
        if not torch.is_autocast_enabled(device_type):  # the context alone takes as long as a small product
            return kernel(*operands)
        with torch.autocast(device_type, enabled=False):
            return kernel(*operands)

    return run
