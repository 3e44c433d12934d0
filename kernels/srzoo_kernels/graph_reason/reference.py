"""Reasoning between the nodes of the squeezed vector."""

import torch


def _as_nodes(g: torch.Tensor, dim: int) -> torch.Tensor:
    """View ``(N, k*d)`` as ``(N, k, d)``: node ``i`` holds the channels ``i*d .. (i+1)*d - 1``."""
    if g.dim() != 2 or g.shape[1] % dim:
        raise ValueError(f"expected g of shape (N, nodes * {dim}), got {tuple(g.shape)}")
    return g.unflatten(1, (-1, dim))


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
    k, d = adjacency.shape[0], weight.shape[0]
    if adjacency.shape != (k, k) or weight.shape != (d, d):
        raise ValueError(
            f"expected square matrices, got adjacency {tuple(adjacency.shape)}, weight {tuple(weight.shape)}"
        )
    nodes = _as_nodes(g, d)
    if nodes.shape[1] != k:
        raise ValueError(f"g has {g.shape[1]} channels, but {k} nodes of {d} channels need {k * d}")
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
    nodes = _as_nodes(g, value.shape[0])
    affinity = (nodes @ query.mT) @ (nodes @ key.mT).mT  # (N, k, k), the bracket of Eq. 6
    return torch.relu(affinity.mT @ (nodes @ value.mT)).flatten(1)
