"""RoIAlign over the levels of a feature pyramid."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from .sparse_roi_align import sparse_roi_align

_CANONICAL_SIDE, _CANONICAL_LEVEL = 224, 4  # Lin et al., 2017, Eq. 1: a region of 224x224 is read from level 4


class PyramidRoIAlign(nn.Module):
    """Features of regions, each from the level that its size calls for (Lin et al., 2017, Eq. 1).

    It computes what ``torchvision.ops.MultiScaleRoIAlign`` does, and in addition has ``aligned``, and knows its strides
    instead of inferring them from the first batch. Boxes stay in float32: in half precision they would be rounded to
    several pixels. On a CPU `sparse_roi_align` computes it where that is faster.

    Args:
        strides: of the levels, fine to coarse, powers of two.
        size: side of the output.
        sampling: samples per output cell along each axis; 0 for as many as fit.
        aligned: subtract half a pixel from the coordinates, as detectron2 and mmdetection 2 do; torchvision does not.

    Shape:
        Levels ``(N, C, H / stride, W / stride)`` and ``N`` tensors of boxes ``(R_i, 4)`` (x0, y0, x1, y1 in pixels of
        the input) to ``(sum R_i, C, size, size)``.
    """

    def __init__(self, strides: list[int], size: int, sampling: int = 2, aligned: bool = False):
        super().__init__()
        self.strides, self.size, self.sampling, self.aligned = strides, size, sampling, aligned
        first, last = (stride.bit_length() - 1 for stride in (strides[0], strides[-1]))
        self._level_of = LevelMapper(first, last, _CANONICAL_SIDE, _CANONICAL_LEVEL)

    def extra_repr(self) -> str:
        return f"size={self.size}, sampling={self.sampling}, aligned={self.aligned}"

    def forward(self, levels: list[torch.Tensor], boxes: list[torch.Tensor]) -> torch.Tensor:
        dtype = levels[0].dtype
        wide = torch.promote_types(dtype, torch.float32)
        numbers = torch.cat([torch.full_like(each[:, :1], i) for i, each in enumerate(boxes)])
        regions = torch.cat([numbers, torch.cat(boxes)], 1).to(wide)
        level_of = self._level_of(boxes)
        is_last = levels[0].is_contiguous(memory_format=torch.channels_last)
        out = torch.empty(
            (len(regions), levels[0].shape[1], self.size, self.size),
            dtype=dtype,
            device=levels[0].device,
            memory_format=torch.channels_last if is_last else torch.contiguous_format,
        ).zero_()
        for i, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            chosen = torch.where(level_of == i)[0]
            if len(chosen) or self.training:  # in training every level takes part in the graph
                align = sparse_roi_align if self._is_sparse(level) else roi_align
                found = align(level.to(wide), regions[chosen], self.size, 1 / stride, self.sampling, self.aligned)
                out[chosen] = found.to(dtype)
        return out

    def _is_sparse(self, level: torch.Tensor) -> bool:
        """Whether a sparse product is faster: on a CPU, if channels lie side by side, or if a gradient is wanted."""
        if level.device.type != "cpu" or not self.sampling or torch.compiler.is_compiling():
            return False
        wants_gradient = level.requires_grad and torch.is_grad_enabled()
        return wants_gradient or level.is_contiguous(memory_format=torch.channels_last)
