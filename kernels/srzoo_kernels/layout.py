"""Views, strides and dtypes of a feature map, for every operator."""

from collections.abc import Iterator

import torch

_PIXELS_WIDENED = 1 << 12  # 8 MB of float32 for 512 channels, which the caches and the allocator keep


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether the channels of ``x`` lie next to each other in memory and its pixels do not."""
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def dense(x: torch.Tensor) -> torch.Tensor:
    """``x`` itself if it is contiguous or channels_last, else a contiguous copy (an expanded gradient, a crop)."""
    return x if is_channels_last(x) else x.contiguous()


def empty_map(x: torch.Tensor) -> torch.Tensor:
    """An uninitialized map of ``x``'s shape, dtype and memory format (contiguous unless channels_last)."""
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
