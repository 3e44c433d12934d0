"""What the files of a dataset hold, in short, to tell that they were changed between two parts of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from ..data.samples import ImageData, ImageFiles
from ..messages import and_more

_DIGEST = 8  # bytes for each file
_LARGEST = 1 << 30  # bytes of an annotation file that is read; of a larger one only the size counts
_CHUNK = 1 << 20


def fingerprint(data: ImageData) -> torch.Tensor:
    """``(files, 8)`` uint8, a digest for each of ``data.files()``: of an annotation's bytes, and of an image's size.

    The annotations are small and the first to be corrected, and a changed image rarely keeps its size to the byte. So
    this takes a second for the masks of Cityscapes.

    Raises:
        OSError: a file cannot be read.
    """
    images = {data.image_file(index) for index in range(len(data))} if isinstance(data, ImageFiles) else set()
    digests = b"".join(_digest(path, path in images) for path in data.files())
    return (
        torch.frombuffer(bytearray(digests), dtype=torch.uint8).view(-1, _DIGEST)
        if digests
        else torch.empty(0, _DIGEST, dtype=torch.uint8)
    )


def _digest(path: Path, is_image: bool) -> bytes:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    if not is_image and size <= _LARGEST:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.digest()[:_DIGEST]


def changed_files(data: ImageData, before: torch.Tensor, now: torch.Tensor) -> str:
    """What differs between two fingerprints of a dataset, for a message; empty if nothing does."""
    if before.shape != now.shape:
        return f"{len(now)} files instead of {len(before)}"
    if not now.numel():
        return ""
    files = data.files()
    names = [files[index].name for index in (before != now).any(1).nonzero().flatten().tolist()]
    return and_more(names, 2)
