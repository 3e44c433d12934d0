"""The checks and the views of a feature map that every operator shares."""

import torch


def check_feature_map(x: torch.Tensor) -> None:
    """Refuse anything that is not a floating ``(N, C, H, W)`` tensor with at least one pixel."""
    if x.dim() != 4:
        raise ValueError(f"expected x of shape (N, C, H, W), got {x.dim()} dimensions {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"expected a floating x, got {x.dtype}; convert it first, e.g. x.float()")
    if x.shape[2] == 0 or x.shape[3] == 0:
        raise ValueError(f"x has no pixels: height {x.shape[2]}, width {x.shape[3]}; both must be at least 1")


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether the channels of ``x`` lie next to each other in memory and its pixels do not."""
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def accumulation_dtype(x: torch.Tensor) -> torch.dtype:
    """float32 for half precisions, since a sum over 1024x2048 pixels overflows float16; else ``x``'s own."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check_logits(logits: torch.Tensor) -> None:
    """Refuse anything that is not a floating ``(N, K, h, w)`` tensor with at least one class and one pixel."""
    check_feature_map(logits)
    if logits.shape[1] == 0:
        raise ValueError(f"logits have no classes: shape {tuple(logits.shape)}; the second side must be at least 1")


def check_size(size: tuple[int, int]) -> None:
    """Refuse an output size that is not two sides of at least 1."""
    if len(size) != 2 or size[0] < 1 or size[1] < 1:
        raise ValueError(f"size must be (H, W) of at least (1, 1), got {tuple(size)}")
