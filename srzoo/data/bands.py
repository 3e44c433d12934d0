"""Images of any number of channels: gray of 8 or 16 bits, infrared beside RGB, or bands of a satellite."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..images import MAX_PIXELS, ImageError, as_image, decoding, name_of, opened
from ..messages import importing
from .georeference import has_many_bands

RGB = 3  # channels of an image that is read as 8-bit RGB, see `srzoo.images`
MAX_CHANNELS = 64
_LUMA = np.float32([0.299, 0.587, 0.114])
_FULL = {"uint8": 255, "uint16": 65535}  # the value that is white


def check_channels(channels: object) -> None:
    """Check a number of channels.

    Raises:
        ValueError: it is no whole number, or out of range.
    """
    if not isinstance(channels, Integral) or isinstance(channels, bool) or channels < 1:
        raise ValueError(f"in_channels must be a whole number of at least 1, got {channels!r}")
    if channels > MAX_CHANNELS:
        raise ValueError(f"in_channels must be at most {MAX_CHANNELS}, got {channels}")


class Bands:
    """An image whose number of channels is not three, with what prediction uses of Pillow's interface.

    Args:
        pixels: ``(H, W, C)`` float32 in 0..255, so that 16 bits keep their precision.
    """

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.pixels.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pixels, dtype, copy=copy)

    def crop(self, box: tuple[int, int, int, int]) -> Bands:
        """The part from left and top to right and bottom, in pixels."""
        left, top, right, bottom = box
        return Bands(self.pixels[top:bottom, left:right])

    def resize(
        self, size: tuple[int, int], resample: Image.Resampling | None = None, reducing_gap: float | None = None
    ) -> Bands:
        """Each channel resized as by ``PIL.Image.Image.resize``."""
        channels = (Image.fromarray(np.ascontiguousarray(each)) for each in np.moveaxis(self.pixels, 2, 0))
        return Bands(np.stack([each.resize(size, resample, reducing_gap=reducing_gap) for each in channels], 2))

    def rgb(self) -> Image.Image:
        """A picture of it: its first three channels as RGB, or its first as gray."""
        shown = self.pixels[:, :, :RGB] if self.pixels.shape[2] >= RGB else self.pixels[:, :, 0]
        return Image.fromarray((shown + 0.5).clip(0, 255).astype(np.uint8)).convert("RGB")


def shown(image: Image.Image | Bands) -> Image.Image:
    """The picture that a result shows of an image."""
    return image.rgb() if isinstance(image, Bands) else image


def picture_of(pixels: np.ndarray) -> Image.Image | Bands:
    """An image of a dataset, ``(H, W, C)``, as prediction takes it."""
    return Image.fromarray(pixels) if pixels.shape[2] == RGB else Bands(pixels)


def as_picture(source: Any, channels: int, max_pixels: int | None = None) -> Image.Image | Bands:
    """Convert what `srzoo.images.as_image` takes to an image with this number of channels: RGB, or `Bands`.

    ``max_pixels`` is the limit of `as_image`, for RGB.

    Raises:
        ImageError: as of `as_image`, or the image has another number of channels.
        ImportError: tifffile is not installed, see `as_bands`.
    """
    return as_image(source, max_pixels) if channels == RGB else Bands(as_bands(source, channels))


def as_bands(source: Any, channels: int) -> np.ndarray:
    """Convert an image to ``(H, W, channels)`` float32 in 0..255.

    Gray is computed where one channel is wanted of a colour image. RGBA and CMYK are four channels, 16-bit gray is one.

    Args:
        source: a path, address, bytes, open file or Pillow image; a ``.npy`` file or an array ``(H, W)`` or
            ``(H, W, C)``; or a tensor ``(H, W)`` or ``(C, H, W)``. The numbers are uint8 in 0..255, uint16 in 0..65535,
            or floating in 0..1. TIFF files of more than 4 bands, or of several beyond 8 bits, need tifffile.
        channels: the number of channels.

    Raises:
        ImageError: the image cannot be read, or has another number of channels.
        ImportError: tifffile is needed, and not installed.
    """
    name = name_of(source)
    if isinstance(source, (str, os.PathLike)) and str(source).lower().endswith(".npy"):
        with decoding(name):
            source = np.load(Path(source), allow_pickle=False)
    if has_many_bands(source):
        with decoding(name):
            return _fitted(_of_array(_tiff_array(Path(source), name), name), channels, name)
    if isinstance(source, Image.Image):
        with decoding(name):
            return _fitted(_of_pillow(source, name), channels, name)
    if isinstance(source, np.ndarray):
        return _fitted(_of_array(source, name), channels, name)
    if hasattr(source, "is_floating_point"):  # a tensor, recognized without importing torch
        array = source.detach().cpu().numpy()
        return _fitted(_of_array(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, name), channels, name)
    with opened(source) as image:
        return _fitted(_of_pillow(image, name), channels, name)


def _tiff_array(path: Path, name: str) -> np.ndarray:
    """``(H, W, C)`` numbers of a TIFF file, of as many bands and bits as it has.

    Raises:
        ImageError: it has more axes or too many pixels.
        ImportError: tifffile is not installed.
    """
    with importing(f"{name}: a TIFF of many bands or bits needs", "'srzoo[geo]'"):
        import tifffile
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes = "".join(axis for axis, side in zip(series.axes, series.shape) if side > 1 or axis in "YX")
        shape = dict(zip(series.axes, series.shape))
        if len(axes) != 3 or not {"Y", "X"} <= {*axes}:
            raise ImageError(f"{name}: a TIFF with the axes {series.axes}, expected rows, columns and bands")
        if shape["Y"] * shape["X"] > MAX_PIXELS:
            raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels, the limit; cut it into parts first")
        array = series.asarray().reshape([shape[axis] for axis in axes])
        return np.moveaxis(array, next(i for i, axis in enumerate(axes) if axis not in "YX"), 2)


def _of_pillow(image: Image.Image, name: str) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name}: integers from {values.min()} to {values.max()}, expected 0 to 65535")
        return _of_array(values.astype(np.uint16), name)
    if image.mode == "F":
        return _of_array(np.asarray(image), name)
    if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        has_opacity = "transparency" in image.info or image.mode in ("PA", "RGBa", "La")
        image = image.convert("L" if image.mode == "1" else "RGBA" if has_opacity else "RGB")
    return _of_array(np.asarray(image), name)


def _of_array(array: np.ndarray, name: str) -> np.ndarray:
    """``(H, W, C)`` float32 in 0..255."""
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3 or not array.size:
        raise ImageError(f"{name}: expected an image of shape (H, W) or (H, W, C), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ImageError(
                f"{name}: expected floating values in 0..1, got {low:.4g} to {high:.4g}; use uint8 or uint16, and "
                "leave out a normalization, which the model has"
            )
        return array.astype(np.float32) * 255
    if array.dtype.name not in _FULL:
        raise ImageError(f"{name}: expected uint8, uint16 or floating values, got {array.dtype}; convert them")
    return array.astype(np.float32) * np.float32(255 / _FULL[array.dtype.name])


def _fitted(pixels: np.ndarray, channels: int, name: str) -> np.ndarray:
    """The image with the wanted number of channels; one of colour is gray."""
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if channels == 1:
        return pixels[:, :, :1] if found < RGB else (pixels[:, :, :RGB] @ _LUMA)[:, :, None]
    raise ImageError(
        f"{name}: {found} channels, but the model takes {channels}; use a model with in_channels={found}, or images "
        f"of {channels} channels, such as TIFF, or .npy files of shape (H, W, {channels})"
    )
