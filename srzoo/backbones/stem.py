"""The first convolution of a backbone, for images with another number of channels than its weights are for."""

import torch
from timm.models import adapt_input_conv


def adapt_stem(
    state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], channels: int
) -> dict[str, torch.Tensor]:
    """A state dict for images of ``channels`` channels, by timm's rule.

    For one channel the weights of RGB are added up. For others they are repeated, channel by channel, and scaled so
    that their sum stays the same.

    Args:
        state: tensors by name, of a network for another number of channels.
        wanted: those of the network that they are for.
        channels: of its images.
    """
    adapted = dict(state)
    for key, value in state.items():
        into = wanted.get(key)
        if into is None or value.dim() != 4 or value.shape == into.shape or into.shape[1] != channels:
            continue
        if (value.shape[0], *value.shape[2:]) == (into.shape[0], *into.shape[2:]):
            if value.shape[1] == 1:
                adapted[key] = value.repeat(1, channels, 1, 1) / channels
            elif value.shape[1] == 3:
                adapted[key] = adapt_input_conv(channels, value)
    return adapted
