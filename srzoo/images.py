"""Reading images of any kind as 8-bit RGB, with clear errors."""

from __future__ import annotations

import io
import struct
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"])
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # from here on Pillow raises
_URL_TIMEOUT_S = 30
# The exceptions that Pillow raises for damaged image data and damaged EXIF tags.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, TypeError, LookupError, OverflowError)
_SWAPS_SIDES, _KEEPS_SIDES = (5, 6, 7, 8), (2, 3, 4)  # EXIF orientations: width and height are swapped or not


class ImageError(ValueError):
    """Raised for an input that is not an image or cannot be read; the message names the input and the reason."""


def read_image(source: str | Path) -> Image.Image:
    """Read a file or an ``http(s)://`` URL as upright 8-bit RGB.

    EXIF orientation is applied, transparent pixels are blended with white, 16-bit gray is scaled to 8 bits, CMYK and
    palettes are converted. Of an animation the first frame is read, with a warning.

    Raises:
        ImageError: the file is missing, empty, truncated, too large, or not an image; or the download failed.
    """
    with opened(source) as image:
        return to_rgb(image, str(source))


@contextmanager
def opened(source: str | Path) -> Iterator[Image.Image]:
    """Context manager of a decoded image file, in its own mode.

    Raises:
        ImageError: the file cannot be read, or one of `DECODER_ERRORS` was raised in the ``with`` block.
    """
    name = str(source)
    try:
        with warnings.catch_warnings():
            # Pillow warns above 89 million pixels, and raises above 179 million. Only the latter is a limit here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(_open(source)) as image:
                image.load()
                yield image
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image file that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels, the limit; resize it first") from error
    except DECODER_ERRORS as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: {_reason(error)}") from error


def _open(source: str | Path) -> str | Path | io.BytesIO:
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(source, timeout=_URL_TIMEOUT_S) as response:
                return io.BytesIO(response.read())
        except urllib.error.URLError as error:
            raise ImageError(f"{source}: could not be downloaded ({error.reason})") from error
    path = Path(source)
    if path.is_dir():
        raise ImageError(f"{source}: a folder, not an image file")
    if not path.exists():
        raise ImageError(f"{source}: no such file")
    if path.stat().st_size == 0:
        raise ImageError(f"{source}: the file is empty")
    return path


def _reason(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return f"cannot be read ({text})"


def has_hidden_rotation(image: Image.Image) -> bool:
    """Whether the EXIF orientation rotates or mirrors an image without changing its size.

    A mask that was drawn on the unrotated image then has the right size, but does not match.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    return orientation in _KEEPS_SIDES or (orientation in _SWAPS_SIDES and image.width == image.height)


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """Convert a loaded Pillow image to upright 8-bit RGB, see `read_image`; ``name`` is used in messages.

    Raises:
        ImageError: the pixels are floating-point, or integers outside 0..65535, so their range is unknown.
    """
    if getattr(image, "n_frames", 1) > 1:
        warnings.warn(f"{name}: {image.n_frames} frames, only the first is used", stacklevel=2)
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # otherwise exif_transpose only copies
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow's conversion would clip at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"{name}: integers from {values.min()} to {values.max()}, expected 0 to 65535; convert it to 8 bits"
            )
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels of unknown range; convert it to 8 bits first")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def as_image(source) -> Image.Image:
    """Convert a path, URL, Pillow image, array or tensor to 8-bit RGB.

    Args:
        source: a path or URL as for `read_image`; a Pillow image; an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or
            ``(H, W, 4)``; or a tensor ``(H, W)``, ``(1, H, W)``, ``(3, H, W)`` or ``(4, H, W)``. Arrays and tensors are
            uint8 in 0..255 or floating-point in 0..1; four channels are RGB and opacity.

    Raises:
        ImageError: ``source`` has another type, shape or range, or as for `read_image`.
    """
    if isinstance(source, (str, Path)):
        return read_image(source)
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, np.ndarray):
        return to_rgb(_from_array(source))
    if hasattr(source, "detach"):  # a tensor, recognized without importing torch
        array = source.detach().cpu().float().numpy() if source.is_floating_point() else source.detach().cpu().numpy()
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            array = array.transpose(1, 2, 0)
        elif array.ndim == 3:
            raise ImageError(f"expected a tensor of shape (3, H, W), got {tuple(source.shape)}")
        return to_rgb(_from_array(array))
    raise ImageError(f"expected a path, URL, Pillow image, array or tensor, got {type(source).__name__}")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"expected an image of shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ImageError(f"expected floating values in 0..1, got {low} to {high}; use uint8 for 0..255")
        array = (array * 255 + 0.5).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"expected uint8 or floating values, got {array.dtype}")
    return Image.fromarray(np.ascontiguousarray(array))
