"""The reasoning step of Squeeze Reasoning: the squeezed vector ``(N, R)`` in, the reasoned one out.

The four choices of the paper's Table 2. All work on ``R`` numbers an image, so their cost does not count.
"""

import torch
from torch import nn

from srzoo_kernels import attention_reason, graph_reason


def _linear_weight(out_features: int, in_features: int) -> nn.Parameter:
    weight = torch.empty(out_features, in_features)
    nn.init.kaiming_uniform_(weight, a=5**0.5)  # what nn.Linear and nn.Conv1d start from
    return nn.Parameter(weight)


class GraphReasoning(nn.Module):
    """Graph convolution of Eq. 5, ``relu(W_g G (I - A_g))``: ``k^2 + d^2`` parameters."""

    def __init__(self, nodes: int, dim: int):
        super().__init__()
        self.adjacency = _linear_weight(nodes, nodes)
        self.weight = _linear_weight(dim, dim)

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        return graph_reason(g, self.adjacency, self.weight)


class AttentionReasoning(nn.Module):
    """Self-attention of Eq. 6, ``relu(rho(G) [phi(G)^T theta(G)])``: ``3 d^2`` parameters."""

    def __init__(self, nodes: int, dim: int):
        super().__init__()
        self.query = _linear_weight(dim, dim)
        self.key = _linear_weight(dim, dim)
        self.value = _linear_weight(dim, dim)

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        return attention_reason(g, self.query, self.key, self.value)


class FullyConnectedReasoning(nn.Module):
    """Table 2's FC rows: two layers with a bottleneck of a quarter, each with a ReLU.

    The paper gives neither width nor activation; the bottleneck is that of Squeeze-and-Excitation, the closing
    ReLU that of Eq. 5 and 6, so that the rows of the table differ in one thing only.
    """

    def __init__(self, nodes: int, dim: int):
        super().__init__()
        width = nodes * dim
        self.reduce = nn.Linear(width, max(1, width // 4))
        self.expand = nn.Linear(max(1, width // 4), width)

    def forward(self, g: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.expand(torch.relu(self.reduce(g))))


class NoReasoning(nn.Identity):
    """Table 2's rows without reasoning: the squeezed vector itself reweights the map."""

    def __init__(self, nodes: int, dim: int):
        super().__init__()


REASONING: dict[str, type[nn.Module]] = {
    "graph": GraphReasoning,
    "attention": AttentionReasoning,
    "fc": FullyConnectedReasoning,
    "none": NoReasoning,
}
