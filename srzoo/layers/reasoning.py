"""The reasoning step of Squeeze Reasoning, in the four variants of the paper's Table 2.

Each is built as ``Reasoning(nodes, dim)`` for ``R = nodes * dim`` and maps the squeezed vector ``(N, R)``, node after
node, to the reasoned vector ``(N, R)``. They work on ``R`` numbers per image, so their cost is negligible. They compute
in the dtype of the vector, which is float32 or wider also in a block that was converted to half precision.
"""

import torch
from torch import nn

from srzoo_kernels import attention_reason, graph_reason

from .parameters import in_dtype_of, widened


def _linear_weight(out_features: int, in_features: int) -> nn.Parameter:
    weight = torch.empty(out_features, in_features)
    nn.init.kaiming_uniform_(weight, a=5**0.5)  # as nn.Linear and nn.Conv1d are initialized
    return nn.Parameter(weight)


class GraphReasoning(nn.Module):
    """Graph convolution of Eq. 5, ``relu(W_g G (I - A_g))`` for ``G`` of ``d x k``: ``k^2 + d^2`` parameters.

    It starts as ``relu(G)``, with ``W_g = I`` and ``A_g = 0``: then no ReLU starts dead whose channel of ``G`` is
    positive. With random matrices half of them are zero for every image, and stay so, as nothing else moves them.
    """

    def __init__(self, nodes: int, dim: int):
        super().__init__()
        self.adjacency = nn.Parameter(torch.zeros(nodes, nodes))
        self.weight = nn.Parameter(torch.eye(dim))

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        return graph_reason(*widened(g, self.adjacency, self.weight))


class AttentionReasoning(nn.Module):
    """Self-attention of Eq. 6, ``relu(rho(G) [phi(G)^T theta(G)])`` for ``G`` of ``d x k``: ``3 d^2`` parameters."""

    def __init__(self, nodes: int, dim: int):
        super().__init__()
        self.query = _linear_weight(dim, dim)
        self.key = _linear_weight(dim, dim)
        self.value = _linear_weight(dim, dim)

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        return attention_reason(*widened(g, self.query, self.key, self.value))


class FullyConnectedReasoning(nn.Module):
    """The FC rows of Table 2: two fully connected layers to ``R / 4`` and back to ``R``, each with a ReLU.

    The paper gives neither the width nor the activation. The bottleneck is that of Squeeze-and-Excitation. The last
    ReLU is that of Eq. 5 and 6, so that the rows of the table differ only in the reasoning.
    """

    def __init__(self, nodes: int, dim: int):
        super().__init__()
        width = nodes * dim
        self.reduce = nn.Linear(width, max(1, width // 4))
        self.expand = nn.Linear(max(1, width // 4), width)

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        return torch.relu(in_dtype_of(torch.relu(in_dtype_of(g, self.reduce)), self.expand))


class NoReasoning(nn.Identity):
    """The rows of Table 2 without reasoning: the squeezed vector itself reweights the map."""

    def __init__(self, nodes: int, dim: int):
        super().__init__()


REASONING: dict[str, type[nn.Module]] = {
    "graph": GraphReasoning,
    "attention": AttentionReasoning,
    "fc": FullyConnectedReasoning,
    "none": NoReasoning,
}
