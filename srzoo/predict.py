"""Prediction: an image in, the result of a model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from .data.bands import as_picture
from .export.onnx_model import OnnxModel
from .images import ImageError, name_of
from .messages import one_line
from .models.base import check_zoo_model
from .models.folding import fuse
from .tasks.task import Result, get_task, make_view
from .zoo.factory import trained_model
from .zoo.weights import is_onnx_file

DEFAULT_MODEL = "srnet_lite0_camvid"


class Segmenter:
    """A model for prediction: ``Segmenter("srnet_lite0_camvid")("street.png").overlay()``.

    Args:
        model: a name with published weights, the path of one of srzoo's ``.safetensors`` files or of an ONNX file from
            `srzoo.export_onnx`, which onnxruntime runs, or a model from `create_model` or `load_model`, which is copied
            and fused (`srzoo.fuse`).
        device: "auto" (the GPU if there is one), or anything that ``torch.device`` accepts.
        tile: segment large images at full detail, in tiles of at most this side in pixels that share the context of the
            whole image (`srzoo.tasks.semantic.tiling.tile_logits`); 1024 is a good size. Without tiles a large image is
            reduced to the model's usual input size.
        **view: other fields of the ``View`` of the model's task, such as ``scales=(0.75, 1.0)`` and ``flip=True`` of a
            semantic model, or ``score=0.3`` of a detector.

    Raises:
        ValueError: there is no such model or device, the name has no published weights, or the model does not support
            the view.
        FileNotFoundError: there is no such weights file.
    """

    def __init__(
        self,
        model: str | Path | nn.Module = DEFAULT_MODEL,
        device: str | torch.device = "auto",
        tile: int | None = None,
        **view: Any,
    ):
        self.device = _resolve_device(device)
        if is_onnx_file(model):
            model = OnnxModel(model)
        elif isinstance(model, (str, Path)):
            model = trained_model(model)
        check_zoo_model(model, "Segmenter")
        self.config, self.task = model.config, get_task(model.task)
        self.view = make_view(self.task, view if tile is None else {**view, "tile": tile})
        self.task.check_view(model, self.view)
        if isinstance(model, OnnxModel):
            self.model = model.eval()
        else:
            self.model = fuse(model).to(self.device, memory_format=torch.channels_last)

    def __call__(self, image: Any, brief: bool = False) -> Result | list[Result]:
        """Run the model on one image, or on each image of a list.

        Args:
            image: a path, address, bytes, open file, Pillow image, array or tensor, see `srzoo.images.as_image`; or a
                list of them.
            brief: leave out of the result what is large and rarely needed: the `Segmentation.probabilities` of a
                semantic model, 300 MB for an image of 100 million pixels in tiles.

        Returns:
            The result of the model's task at the size of the image, a `Segmentation`, `Instances` or `Panoptic`; or a
            list of results.

        Raises:
            srzoo.images.ImageError: an image cannot be read, or there is not enough memory for it; the message names it
                and the reason.
        """
        if isinstance(image, (list, tuple)):
            return [self(item, brief) for item in image]
        picture = as_picture(image, self.config.transform.channels)
        try:
            with torch.inference_mode():
                return self.task.predict(self.model, picture, self.view, brief)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            size, name = f"{picture.width}x{picture.height} pixels", name_of(image)
            reason = f"not enough memory on {self.device} for {size}; resize it, or use smaller scales or tiles"
        raise ImageError(f"{name}: {reason}")  # outside of the block, so that the error holds no tensors


def _is_out_of_memory(error: Exception) -> bool:
    """Whether this is one of the errors that allocators and libraries of any device raise."""
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in text
        for words in ("out of memory", "allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
    )


def _resolve_device(device: str | torch.device) -> torch.device:
    """The device, which works.

    Raises:
        ValueError: it does not exist, or this build of PyTorch does not support it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # "not compiled with CUDA" is an AssertionError
        raise ValueError(f"device {str(device)!r} is not available here ({one_line(error)}); try 'cpu'") from error
    return device
