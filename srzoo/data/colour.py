"""Colour jitter, and noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

_LUMA = torch.tensor([0.299, 0.587, 0.114])


class RandomColour(v2.Transform):
    """Random brightness, contrast, saturation and hue at once, as one affine map of RGB.

    Images are ``(3, H, W)`` uint8; masks are returned unchanged. `v2.ColorJitter` computes the hue in HSV, which takes
    ten times as long as all of this. In images of another number of channels, ``(C, H, W)`` floats in 0..255,
    brightness and contrast alone change.

    Args:
        strength: factors of brightness, contrast and saturation are drawn from ``1 - strength`` to ``1 + strength``.
        hue: the hue rotates by up to this fraction of a full circle, in either direction, about the gray axis.
    """

    def __init__(self, strength: float, hue: float):
        super().__init__()
        self.strength, self.hue = strength, hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        brightness, contrast, saturation = torch.empty(3).uniform_(1 - self.strength, 1 + self.strength)
        rotation = _hue_rotation(2 * math.pi * torch.empty(()).uniform_(-self.hue, self.hue))
        saturated = saturation * torch.eye(3) + (1 - saturation) * _LUMA.expand(3, 3)
        return {"matrix": brightness * saturated @ rotation, "contrast": contrast, "brightness": brightness}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        pixels = inpt.as_subclass(torch.Tensor).flatten(1).float()
        matrix, contrast = params["matrix"], params["contrast"]
        if len(pixels) != len(_LUMA):
            pixels = params["brightness"] * (contrast * pixels + (1 - contrast) * pixels.mean())
            return tv_tensors.wrap(pixels.clamp_(0, 255).view(inpt.shape), like=inpt)
        gray = _LUMA @ matrix @ pixels.mean(1)
        pixels = torch.addmm(((1 - contrast) * gray).expand(3, 1), contrast * matrix, pixels)
        return tv_tensors.wrap(pixels.clamp_(0, 255).to(torch.uint8).view(inpt.shape), like=inpt)


class RandomNoise(v2.Transform):
    """Gaussian noise, independent in each pixel and channel; images as of `RandomColour`, and masks unchanged.

    Args:
        strength: its standard deviation is drawn from 0 to this share of the range 0..255.
    """

    def __init__(self, strength: float):
        super().__init__()
        self.strength = strength

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"deviation": 255 * self.strength * torch.rand(()).item()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        noisy = torch.normal(inpt.as_subclass(torch.Tensor).float(), params["deviation"]).clamp_(0, 255)
        if not inpt.is_floating_point():
            noisy.round_()
        return tv_tensors.wrap(noisy.to(inpt.dtype), like=inpt)


def _hue_rotation(angle: torch.Tensor) -> torch.Tensor:
    """``(3, 3)``: the rotation of RGB by ``angle`` about the gray axis (Rodrigues' formula)."""
    axis = 3**-0.5
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross
