"""Recurrent criss-cross attention, "rcca"."""

import torch

from .attention import ProjectedContext
from .checks import check_whole


class RecurrentCrissCrossAttention(ProjectedContext):
    """Recurrent criss-cross attention of CCNet (Huang et al., 2019, Eq. 1 and 2).

    Each pixel attends to the ``H + W - 1`` pixels of its column and row. After a second pass with the same weights,
    every pixel depends on every other. Table 1 of arXiv 2011.03308: computation ``O(C HW (H + W))``, affinity memory
    ``O(HW (H + W))``. Query, key and value have ``C / 2`` channels and ``W_z`` projects back, as in the non-local
    block; this gives the parameters in Table 3. CCNet itself has queries and keys of ``C / 8`` and no ``W_z``.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C`` divided by the width of query, key and value.
        recurrences: number of passes with the same weights; 2 in CCNet.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or ``recurrences`` below 1.
    """

    def __init__(self, channels: int, reduction: int = 2, recurrences: int = 2):
        super().__init__(channels, reduction)
        check_whole(recurrences=recurrences)
        self.recurrences = recurrences

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        height, width = query.shape[2:]
        # (N, W, H, R): a matrix of pixels for each column. (N, H, W, R): one for each row.
        (q_column, k_column, v_column), (q_row, k_row, v_row) = (
            [each.permute(order) for each in (query, key, value)] for order in ((0, 3, 2, 1), (0, 2, 3, 1))
        )
        itself = torch.eye(height, dtype=torch.bool, device=query.device)  # the pixel itself, which its row already has
        column = (q_column @ k_column.mT).masked_fill(itself, float("-inf")).transpose(1, 2)  # (N, H, W, H)
        row = q_row @ k_row.mT  # (N, H, W, W)
        column, row = torch.softmax(torch.cat([column, row], 3), 3).to(value.dtype).split([height, width], 3)
        attended = row @ v_row + (column.transpose(1, 2) @ v_column).transpose(1, 2)  # (N, H, W, R)
        return attended.flatten(1, 2).mT

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.recurrences):
            x = super().forward(x)
        return x
