"""Feature maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

_TILE, _TITLE, _GAP = 320, 20, 4  # pixels: longest side of a picture in a grid, height of a title, gap
# Dark blue, cyan, yellow, red: a map's lowest to highest value.
_RAMP = np.array([[20, 20, 90], [0, 170, 200], [250, 230, 60], [220, 20, 20]], np.float32)


def heat(image: Image.Image, values: torch.Tensor) -> Image.Image:
    """A map ``(h, w)`` in colours over a gray image; its size is that of the image. A constant map is dark blue."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) / max(high - low, 1e-12)).numpy()
    place = scaled * (len(_RAMP) - 1)
    first = np.clip(place.astype(int), 0, len(_RAMP) - 2)
    part = (place - first)[..., None]
    colours = _RAMP[first] * (1 - part) + _RAMP[first + 1] * part
    drawn = Image.fromarray(colours.round().astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    return Image.blend(image.convert("L").convert("RGB"), drawn, 0.65)


def projected(x: torch.Tensor, y: torch.Tensor, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Two maps ``(C, h, w)`` projected to three channels by one PCA of both, as RGB images of this size."""
    pixels = torch.cat([x.flatten(1), y.flatten(1)], 1).T
    centred = pixels - pixels.mean(0)
    # The eigenvectors of the C x C covariance, as there are many more pixels than channels; signs are fixed.
    axes = torch.linalg.eigh((centred.T @ centred).double())[1][:, -3:].flip(1).float()
    axes = axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)
    if axes.shape[1] < 3:
        axes = torch.nn.functional.pad(axes, (0, 3 - axes.shape[1]))
    colours = centred @ axes
    low, high = (torch.quantile(colours[:: max(1, len(colours) // 100_000)], q, dim=0) for q in (0.01, 0.99))
    colours = ((colours - low) / (high - low).clamp_min(1e-12)).clamp(0, 1).mul(255).round().to(torch.uint8)
    height, width = x.shape[1:]
    halves = colours.view(2, height, width, 3).numpy()
    before, after = (Image.fromarray(half).resize(size, Image.Resampling.BILINEAR) for half in halves)
    return before, after


def grid(pictures: Sequence[Image.Image], titles: Sequence[str], columns: int = 3) -> Image.Image:
    """Pictures of one size in rows, each reduced to at most 320 pixels, with a title above it."""
    scale = min(1.0, _TILE / max(pictures[0].size))
    width, height = (max(1, round(side * scale)) for side in pictures[0].size)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _TITLE)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left, top = i % columns * (width + _GAP), i // columns * (height + _TITLE)
        draw.text((left + 2, top + 2), title, fill="black", font=font)
        sheet.paste(picture.resize((width, height)), (left, top + _TITLE))
    return sheet
