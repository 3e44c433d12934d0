"""Files of known hash that are downloaded once, whole or not at all; a download that broke off is resumed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..files import locked
from ..web import download

_CHUNK = 1 << 20
LARGEST, LONGEST_S = 2 << 30, 3600  # bytes and seconds of a download


def cache_folder() -> Path:
    """Where files are cached, which is where ``torch.hub`` caches them."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch_once(address: str, sha256: str, path: Path) -> None:
    """Download a file, if it has the expected hash.

    What has arrived of it is kept beside ``path`` when the transfer breaks, and the next call asks for the rest.

    Args:
        address: of the file.
        sha256: of its bytes, or the first digits of that.
        path: where it is put.

    Raises:
        srzoo.web.DownloadError: there is no such file, or the transfer broke.
        ValueError: it has another hash.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{sha256[:8]}.resume")
    with locked(path.with_name(f".{path.name}.lock")):
        if path.is_file():  # another process has put it there
            return
        try:
            with part.open("ab") as target:
                download(address, target, LARGEST, LONGEST_S, start=target.tell())
                target.flush()
                os.fsync(target.fileno())
        except BaseException:
            if not part.stat().st_size:
                part.unlink()
            raise
        if problem := wrong_hash(part, sha256):
            part.unlink()
            raise ValueError(f"what was downloaded {problem}")
        os.replace(part, path)


def wrong_hash(path: Path, expected: str) -> str:
    """What is wrong with the SHA-256 of a file, of which the first digits are given; empty if it is right."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    return "" if found.startswith(expected) else f"has sha256 {found[:12]}..., expected {expected[:12]}..."
