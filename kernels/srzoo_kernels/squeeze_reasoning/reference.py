"""The block, and the weights of a convolution that it is folded into, equation by equation."""

import torch


def reasoned(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """``z`` ``(N, R)``: Eq. 4, as a mean, of ``T = W_t X`` and ``B = W_p X`` at full resolution, and Eq. 5."""
    t, b = (torch.einsum("rc,nchw->nrhw", each.flatten(1), x) for each in (transform, pair))
    nodes = (t * b).mean((2, 3)).unflatten(1, (len(adjacency), len(weight)))  # G^T, (N, k, d)
    return torch.relu((nodes - adjacency.mT @ nodes) @ weight.mT).flatten(1)


def squeeze_reasoning(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    project: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """``X + W_R (z * W_t X)``, Eq. 7; arguments and result as ``op.squeeze_reasoning`` has them, all of one dtype."""
    z = reasoned(x, transform, pair, adjacency, weight)
    t = torch.einsum("rc,nchw->nrhw", transform.flatten(1), x)
    return x + torch.einsum("cr,nrhw->nchw", project.flatten(1), t * z[:, :, None, None])


def squeeze_reasoning_weights(
    x: torch.Tensor,
    transform: torch.Tensor,
    pair: torch.Tensor,
    projected: torch.Tensor,
    adjacency: torch.Tensor,
    weight: torch.Tensor,
    base: torch.Tensor,
) -> torch.Tensor:
    """``V + (V W_R) diag(z) W_t``; arguments and result as ``op.squeeze_reasoning_weights`` has them, of one dtype."""
    z = reasoned(x, transform, pair, adjacency, weight)
    outputs, _, height, width = base.shape
    rows = projected.unflatten(0, (outputs, height, width))
    return base + torch.einsum("oijr,nr,rc->nocij", rows, z, transform.flatten(1))
