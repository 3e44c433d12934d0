"""Checks of the block's operands.

They would take as long as the launches, so a plan makes them, once for every kind of operands, and so does what runs
without a plan.
"""

import torch

from ..checks import check_feature_map, check_same_device, check_same_dtype, check_square, is_floating


def check_block(x, transform, pair, project, adjacency, weight) -> None:
    """Refuse operands that `squeeze_reasoning` does not take."""
    _check_weights(x, transform, pair, adjacency, weight, project=project)
    reduced, channels = transform.shape[:2]
    if project.shape not in ((channels, reduced), (channels, reduced, 1, 1)):
        raise ValueError(f"expected project of shape {(channels, reduced)}, got {tuple(project.shape)}")


def check_folded(x, transform, pair, projected, adjacency, weight, base) -> None:
    """Refuse operands that `squeeze_reasoning_weights` does not take."""
    _check_weights(x, transform, pair, adjacency, weight, projected=projected)
    reduced, channels = transform.shape[:2]
    check_feature_map(base, "base", channels)
    check_same_device(x, base=base)
    rows = base.numel() // channels
    if projected.shape != (rows, reduced):
        raise ValueError(f"expected projected of shape {(rows, reduced)}, got {tuple(projected.shape)}")


def _check_weights(x, transform, pair, adjacency, weight, **last: torch.Tensor) -> None:
    check_feature_map(x)
    check_square(adjacency=adjacency, weight=weight)
    reduced, channels = len(adjacency) * len(weight), x.shape[1]
    for name, each in (("transform", transform), ("pair", pair)):
        if each.shape not in ((reduced, channels), (reduced, channels, 1, 1)):
            raise ValueError(
                f"expected {name} of shape {(reduced, channels)} for {channels} channels and "
                f"{len(adjacency)} nodes of {len(weight)}, got {tuple(each.shape)}"
            )
    check_same_device(x, transform=transform, pair=pair, adjacency=adjacency, weight=weight, **last)
    if not is_floating(transform):
        raise ValueError(f"expected floating weights, got {transform.dtype}")
    check_same_dtype(transform, pair, adjacency, weight, *last.values())
