"""Reading images of any kind as 8-bit RGB, with clear errors."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from .messages import one_line, visible
from .web import MAX_BYTES, DownloadError, fetch, is_address, without_password

SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"])
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # from here on Pillow raises
_SWAPS_SIDES, _KEEPS_SIDES = (5, 6, 7, 8), (2, 3, 4)  # EXIF orientations: width and height are swapped or not
_FILLED_16 = 1 << 15  # 16-bit pixels that all lie below use 15 bits at most
_FILLED_8 = 16  # 8-bit pixels that all lie below use 4 bits at most
_OPAQUE = 0.5  # share of an image's pixels that are opaque in a usual picture with transparency
_SAMPLED = 64  # pixels along a side that are looked at first
BATCH_DIMENSIONS = 4  # of an array or a tensor that holds several images


class ImageError(ValueError):
    """Raised for an input that is not an image or cannot be read; the message names the input and the reason."""


class ImageWarning(UserWarning):
    """Said of an image that can be read, but perhaps not as it was meant.

    Args:
        name: of the image.
        kind: "range" for pixels that use a small part of their range, "opacity" for transparent pixels, or "frames".
        text: what is said.
    """

    def __init__(self, name: str, kind: str, text: str):
        super().__init__(name, kind, text)
        self.name, self.kind, self.text = name, kind, text

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def read_image(source: Any, max_pixels: int | None = None) -> Image.Image:
    """Read a file or an ``http(s)://`` address as upright 8-bit RGB.

    EXIF orientation is applied, transparent pixels are blended with white, 16-bit gray is scaled to 8 bits, CMYK and
    palettes are converted. Of an animation the first frame is read. An opacity of 0 everywhere is ignored.

    An `ImageWarning` says that there are other frames, that most pixels are transparent, or that their values use a
    small part of their range, as 12 bits in a 16-bit file do, which makes a black image.

    Args:
        source: a path, an address, the content of a file as bytes, or an open binary file, which is read from its
            position on.
        max_pixels: limit of its size; None for that of Pillow, see `most_pixels` for tiles.

    Raises:
        ImageError: the file is missing, empty, truncated, too large, or not an image; or the download failed.
    """
    name = name_of(source)
    with decoding(name, max_pixels), _pillow_opens(_open(source, name), max_pixels) as image:
        return to_rgb(image, name)


def most_pixels() -> int:
    """The limit of an image that is segmented in tiles: what fits the memory of the machine, at 16 bytes for a pixel.

    The decoded image, its overlay and the labels take 9. Pillow's own limit of 179 million pixels is for programs that
    open whatever they are sent.
    """
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 1 << 34
    return max(MAX_PIXELS, memory // 16)


_limit = threading.Lock()  # of Pillow, which is one for the process


def _pillow_opens(file: Path | io.BytesIO, max_pixels: int | None) -> Image.Image:
    """Open a file, which reads its size alone, with another limit than Pillow's."""
    if max_pixels is None:
        return Image.open(file)
    with _limit:
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels // 2
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = usual


@contextmanager
def opened(source: Any) -> Iterator[Image.Image]:
    """Context manager of a decoded image file, in its own mode; ``source`` as for `read_image`.

    Raises:
        ImageError: the file cannot be read, or something was raised in the ``with`` block.
    """
    name = name_of(source)
    with decoding(name), Image.open(_open(source, name)) as image:
        image.load()
        yield image


def name_of(source: Any) -> str:
    """An input as messages name it: its path or address, or the kind of object it is."""
    if isinstance(source, (str, os.PathLike)):
        return visible(without_password(source) if is_address(source) else str(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{len(source)} bytes"
    named = getattr(source, "filename" if isinstance(source, Image.Image) else "name", None)
    if isinstance(named, str) and named and not isinstance(source, np.ndarray):
        return visible(named)
    return "open file" if hasattr(source, "read") else "image"


@contextmanager
def decoding(name: str, max_pixels: int | None = None) -> Iterator[None]:
    """Context manager in which whatever a decoder raises becomes an `ImageError` of this name; a missing package not.

    ``max_pixels`` is the limit that the message tells; None for that of Pillow.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns above 89 million pixels, and raises above 179 million. Only the latter is a limit here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except (ImageError, ImportError, Warning):  # a package is missing, or a user's filter raises warnings
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image file that Pillow can read") from error
    except Image.DecompressionBombError as error:
        tiles = ", or segment it in tiles (--tile 1024, tile=1024)" if max_pixels is None else ""
        raise ImageError(
            f"{name}: more than {max_pixels or MAX_PIXELS:,} pixels, the limit; resize it first{tiles}"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name}: not enough memory to read it; resize it first") from error
    except Exception as error:  # whatever a decoder trips over, as struct.error or AssertionError
        raise ImageError(f"{name}: {_reason(error)}") from error


def _open(source: Any, name: str) -> Path | io.BytesIO:
    """What Pillow opens."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(_not_empty(bytes(source), name))
    if hasattr(source, "read"):
        return io.BytesIO(_not_empty(_read(source, name), name))
    if is_address(source):
        try:
            return io.BytesIO(_not_empty(fetch(source), name))
        except DownloadError as error:
            raise ImageError(f"{name}: could not be downloaded ({error})") from error
    path = Path(source)
    if path.is_dir():
        raise ImageError(
            f"{name}: a folder, not an image file; give its files, as in sorted(Path(folder).glob('*.jpg'))"
        )
    if not path.exists():
        other = isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", source)
        scheme = "; addresses must start with http:// or https://" if other else ""
        raise ImageError(f"{name}: no such file{scheme}")
    if not path.is_file():
        raise ImageError(f"{name}: not a regular file")
    if path.stat().st_size == 0:
        raise ImageError(f"{name}: the file is empty")
    return path


def _read(file: Any, name: str) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise ImageError(
            f"{name}: its read() returned {type(content).__name__}, expected bytes; open it with mode 'rb'"
        )
    if len(content) > MAX_BYTES:
        raise ImageError(f"{name}: more than {MAX_BYTES:,} bytes, the limit of an open file; give its path")
    if not content and hasattr(file, "tell") and file.tell():
        raise ImageError(f"{name}: nothing after position {file.tell()}; call seek(0) before")
    return bytes(content)


def _not_empty(content: bytes, name: str) -> bytes:
    if not content:
        raise ImageError(f"{name}: the file is empty")
    return content


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None)
    if isinstance(error, _PYTHONS) or str(error).startswith(_CONVERSIONS):
        return "cannot be read (it is damaged, or its metadata are)"
    return f"cannot be read ({visible(text) if isinstance(text, str) else one_line(error)})"


# What a decoder trips over in a damaged file says nothing of the file.
_PYTHONS = (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, NameError, struct.error)
_CONVERSIONS = ("invalid literal for int", "could not convert string")  # ValueError


def has_hidden_rotation(image: Image.Image) -> bool:
    """Whether the EXIF orientation rotates or mirrors an image without changing its size.

    A mask that was drawn on the unrotated image then has the right size, but does not match.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    return orientation in _KEEPS_SIDES or (orientation in _SWAPS_SIDES and image.width == image.height)


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """Convert a Pillow image to upright 8-bit RGB, see `read_image`; ``name`` is used in messages.

    Raises:
        ImageError: the pixels are floating-point, or integers outside 0..65535, so their range is unknown; or there is
            no pixel.
    """
    if 0 in image.size:
        raise ImageError(f"{name}: {image.width}x{image.height} pixels, expected 1x1 or more")
    is_deep = _is_deep(image)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        _warn(name, "frames", f"{frames} frames, only the first is used")
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # otherwise exif_transpose only copies
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow's conversion would clip at 255
        values = np.asarray(image).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"{name}: integers from {low} to {high}, expected 0 to 65535; convert it to 8 bits")
        if 0 < high < _FILLED_16:
            _warn_of_range(name, high, 65535)
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels of unknown range; convert it to 8 bits first")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgb = _blended(image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA"), name)
    else:
        rgb = image.convert("RGB")
    high = _highest(rgb, _FILLED_16 >> 8 if is_deep else _FILLED_8)
    if is_deep and 0 <= high < _FILLED_16 >> 8:
        _warn_of_range(name, high * 256 + 255, 65535)
    elif 0 < high < _FILLED_8:
        _warn_of_range(name, high, 255)
    return rgb


def _is_deep(image: Image.Image) -> bool:
    """Whether a file stores 16 bits for each colour, of which Pillow reads the higher 8. Known until it is loaded."""
    return any(re.search(";16[BLN]", str(tile[3])) for tile in getattr(image, "tile", ()) if len(tile) > 3)


def _blended(image: Image.Image, name: str) -> Image.Image:
    """RGBA laid over white, unless nothing would be left."""
    counts = image.getchannel("A").histogram()
    pixels = image.width * image.height
    if counts[0] == pixels:
        _warn(
            name,
            "opacity",
            "every pixel is transparent, so the opacity is ignored; save the image as RGB if the fourth band is none",
        )
        return image.convert("RGB")
    if counts[255] < _OPAQUE * pixels:
        _warn(
            name,
            "opacity",
            f"{1 - counts[255] / pixels:.0%} of the pixels are transparent and blended with white; save the image as "
            "RGB if its fourth band is no opacity",
        )
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _highest(image: Image.Image, enough: int) -> int:
    """The highest value of an 8-bit image, or of some of its pixels if that is ``enough``."""
    few = image.resize(tuple(min(side, _SAMPLED) for side in image.size), Image.Resampling.NEAREST)
    sampled = max(high for _, high in few.getextrema())
    return sampled if sampled >= enough else max(high for _, high in image.getextrema())


def _warn_of_range(name: str, high: float, full: float) -> None:
    _warn(
        name,
        "range",
        f"values up to {high:g} where {full:g} is white, so it is nearly black; scale the values to that range",
    )


def _warn(name: str, kind: str, text: str) -> None:
    warnings.warn(ImageWarning(name, kind, text), stacklevel=4)


def as_image(source: Any, max_pixels: int | None = None) -> Image.Image:
    """Convert a path, address, file, Pillow image, array or tensor to 8-bit RGB.

    Args:
        source: a path, address, bytes or open file as for `read_image`; a Pillow image; an array ``(H, W)``,
            ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; or a tensor ``(H, W)``, ``(1, H, W)`` or ``(3, H, W)``.
            Arrays and tensors are uint8 in 0..255 or floating-point in 0..1; four channels are RGB and opacity.
        max_pixels: limit of the size of a file, as for `read_image`.

    Raises:
        ImageError: ``source`` has another type, shape or range, or as for `read_image`.
    """
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        return read_image(source, max_pixels)
    name = name_of(source)
    with decoding(name):
        if isinstance(source, Image.Image):
            return to_rgb(source, name)
        if isinstance(source, np.ndarray):
            return to_rgb(_from_array(source))
        if hasattr(source, "is_floating_point"):  # a tensor, recognized without importing torch
            return to_rgb(_from_array(_array_of(source)))
    if hasattr(source, "read"):
        return read_image(source, max_pixels)
    got = type(source).__name__
    if isinstance(source, Iterator):
        got += "; Segmenter.stream takes what yields images"
    raise ImageError(f"expected a path, address, bytes, open file, Pillow image, array or tensor, got {got}")


def _array_of(tensor: Any) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` of a tensor, which has its channels first."""
    if tensor.is_sparse or tensor.is_quantized or tensor.device.type == "meta" or tensor.is_nested:
        raise ImageError("expected a dense tensor with values, got one that is sparse, quantized, nested or on meta")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if array.ndim == 3 and array.shape[0] == 4:
        raise ImageError(
            f"expected a tensor of shape (3, H, W), got {array.shape}; leave the fourth channel out, or give an array "
            "(H, W, 4) if it is opacity"
        )
    if array.ndim == 3 and array.shape[0] not in (1, 3):
        raise ImageError(f"expected a tensor of shape (3, H, W), got {array.shape}")
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"expected an image of shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ImageError(
                f"expected floating values in 0..1, got {low:.4g} to {high:.4g}; use uint8 for 0..255, and leave out a "
                "normalization, which the model has"
            )
        array = (array * 255 + 0.5).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"expected uint8 or floating values, got {array.dtype}; convert 0..255 to uint8")
    return Image.fromarray(np.ascontiguousarray(array))


def check_several(images: Any, caller: str) -> None:
    """Check that images come in an iterable.

    Raises:
        ValueError: it is a single image, or nothing to iterate over.
    """
    if _is_one(images) or not isinstance(images, Iterable):
        raise ValueError(
            f"{caller} takes a list, a batch or a generator of images, got one {type(images).__name__}; pass [image]"
        )


def _is_one(images: Any) -> bool:
    """Whether this is an image, although its characters, rows or channels could be gone through one by one."""
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)) or hasattr(images, "read"):
        return True
    return getattr(images, "ndim", BATCH_DIMENSIONS) < BATCH_DIMENSIONS  # of arrays and tensors
