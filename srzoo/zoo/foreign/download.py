"""The weights that other projects publish for entries of srzoo: downloaded once, checked, and converted when loaded.

They are listed without torch, so that `srzoo list` is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from ...messages import one_line
from ..cache import cache_folder, fetch_once, wrong_hash

if TYPE_CHECKING:
    from .detector import ForeignDetector


@dataclass(frozen=True)
class Download:
    """A file of another project.

    Attributes:
        project: whose file it is; figures that are known of it are theirs, not measured by srzoo.
        address: of the file.
        sha256: of its bytes, or the first digits of that.
        licence: the terms of the file and of what it was trained on.
    """

    project: str
    address: str
    sha256: str
    licence: tuple[str, ...]

    @property
    def file(self) -> str:
        return Path(urlparse(self.address).path).name

    @property
    def path(self) -> Path:
        """Where it is cached, which is where torchvision caches it too."""
        return cache_folder() / self.file


def read_downloaded(file: Download) -> ForeignDetector:
    """The detector in a file of another project, which is downloaded if it is not in the cache.

    Raises:
        RuntimeError: it cannot be downloaded.
        ValueError: the file is damaged.
    """
    from .recognition import detector_in, read_foreign

    if not file.path.is_file():
        _fetch(file)
    if problem := wrong_hash(file.path, file.sha256):
        raise ValueError(f"{file.path} {problem}: it is damaged; delete it, so that it is downloaded again")
    detector = detector_in(*read_foreign(file.path))
    if detector is None:
        raise ValueError(f"{file.path} contains no detector of {file.project}")
    return detector


def _fetch(file: Download) -> None:
    """Download a file into the cache, if it has the expected hash."""
    try:
        fetch_once(file.address, file.sha256, file.path)
    except (OSError, ValueError) as error:  # no network or no space; or another hash
        raise RuntimeError(
            f"could not download {file.project}'s weights ({one_line(error)}); get {file.address} on "
            f"another machine, and put it at {file.path}, or convert it with `srzoo convert {file.file} "
            "OUT.safetensors`"
        ) from error


_MASK_RCNN_R50 = Download(
    project="torchvision",
    address="https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    sha256="bf2d0c1e",
    licence=(
        "srzoo: Apache-2.0",
        "Mask R-CNN R50 by torchvision: BSD-3-Clause; its backbone was trained on ImageNet (research use)",
        "COCO 2017 (Lin et al., 2014): annotations CC BY 4.0, photographs under Flickr's terms",
    ),
)
DOWNLOADED: dict[str, Download] = {
    "mask_rcnn_r50_coco": _MASK_RCNN_R50,
    "srnet_mask_rcnn_r50_coco": _MASK_RCNN_R50,
}
