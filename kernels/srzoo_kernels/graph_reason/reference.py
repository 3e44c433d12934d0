"""Reasoning between the nodes of the squeezed vector."""

import torch

from ..checks import check_nodes, check_square


def graph_reason(g: torch.Tensor, adjacency: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Eq. 5 of the paper, ``relu(W_g G (I - A_g))``, with the ``k`` nodes as the columns of ``G`` (``d x k``).

    Args:
        g: ``(N, k * d)``, the squeezed vector; node after node.
        adjacency: ``(k, k)``, ``A_g``.
        weight: ``(d, d)``, ``W_g``.

    Returns:
        ``(N, k * d)``, laid out as ``g``.

    Raises:
        ValueError: the length of ``g`` is not ``k * d``, or a matrix is not square.
    """
    check_square(adjacency=adjacency, weight=weight)
    k, d = len(adjacency), len(weight)
    check_nodes(g, d, nodes=k)
    nodes = g.unflatten(1, (k, d))  # node i holds the channels i * d .. (i + 1) * d - 1
    # Row form of the equation: (W G (I - A))^T = (I - A)^T G^T W^T.
    mixed = nodes - adjacency.mT @ nodes
    return torch.relu(mixed @ weight.mT).flatten(1)


def attention_reason(g: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Eq. 6 of the paper, ``relu(rho(G) [phi(G)^T theta(G)])``, without a softmax, as printed.

    Args:
        g: ``(N, k * d)``, the squeezed vector; node after node.
        query, key, value: ``(d, d)``, the weights of ``phi``, ``theta`` and ``rho``.

    Returns:
        ``(N, k * d)``, laid out as ``g``.

    Raises:
        ValueError: the length of ``g`` is not a multiple of ``d``.
    """
    check_nodes(g, len(value))
    nodes = g.unflatten(1, (-1, len(value)))  # (N, k, d)
    affinity = (nodes @ query.mT) @ (nodes @ key.mT).mT  # (N, k, k), the bracket of Eq. 6
    return torch.relu(affinity.mT @ (nodes @ value.mT)).flatten(1)
