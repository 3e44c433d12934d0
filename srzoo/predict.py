"""An image in, its segmentation out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from srzoo_kernels import upsample_argmax

from .images import as_image
from .models.base import check_zoo_model
from .models.folding import fuse
from .tasks.semantic.inference import image_logits
from .tasks.semantic.protocol import Protocol
from .tasks.semantic.result import Segmentation
from .tasks.semantic.tiling import check_tiles
from .zoo.factory import trained_model

DEFAULT_MODEL = "srnet_lite0_camvid"


class Segmenter:
    """A model ready for images: ``Segmenter("srnet_lite0_camvid")("street.png").overlay()``.

    Args:
        model: a name with published weights, the path of a ``.safetensors`` file of ours, or a model that
            `create_model` or `load_model` made, of which a folded copy is used (`srzoo.fuse`).
        device: "auto" (the GPU if there is one), or anything ``torch.device`` takes.
        tile: see large images at full detail, in tiles of at most this many pixels a side that share the context of
            the whole image (`srzoo.tiling.tile_logits`); 1024 is a good size. Without it a large image is reduced to
            the model's usual input.

    Raises:
        ValueError: no such model or device, no published weights for the name, or a tile that does not fit the model.
        FileNotFoundError: no such weights file.
    """

    def __init__(
        self,
        model: str | Path | nn.Module = DEFAULT_MODEL,
        device: str | torch.device = "auto",
        tile: int | None = None,
    ):
        self.device = _resolve_device(device)
        if isinstance(model, (str, Path)):
            model = trained_model(model)
        check_zoo_model(model, "Segmenter")
        self.config = model.config
        self.protocol = Protocol(tile=tile)
        if tile is not None:
            check_tiles(model, tile, self.protocol.halo)
        self.model = fuse(model).to(self.device, memory_format=torch.channels_last)

    def __call__(self, image: Any) -> Segmentation | list[Segmentation]:
        """Segment one image, or each of a list.

        Args:
            image: a path, URL, Pillow image, array or tensor, see `srzoo.images.as_image`; or a list of them.

        Raises:
            srzoo.images.ImageError: an input that cannot be read, by name and reason.
        """
        if isinstance(image, (list, tuple)):
            return [self(item) for item in image]
        return self._segment(as_image(image))

    @torch.inference_mode()
    def _segment(self, image: Image.Image) -> Segmentation:
        (logits,) = image_logits(self.model, image, self.protocol)
        align_corners = self.model.align_corners
        labels = upsample_argmax(logits, (image.height, image.width), align_corners)[0].cpu().numpy()
        return Segmentation(image, labels, self.config.classes, self.config.palette, logits, align_corners)


def _resolve_device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # "not compiled with CUDA" is an AssertionError
        raise ValueError(
            f"device {str(device)!r} is not available here ({str(error).splitlines()[0]}); try 'cpu'"
        ) from error
    return device
