"""Prediction: an image in, the result of a model out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from .data.bands import as_picture
from .export.onnx_model import OnnxModel
from .images import ImageError, most_pixels, name_of
from .messages import one_line
from .models.base import check_zoo_model
from .models.folding import fuse
from .tasks.task import Result, get_task, make_view
from .zoo.factory import trained_model
from .zoo.weights import is_onnx_file

DEFAULT_MODEL = "srnet_lite0_camvid"
_TESTED = ("cpu", "cuda")  # kinds of devices; on others, such as "mps" and "xpu", srzoo's operators are plain PyTorch
_BATCH_DIMENSIONS = 4


class Segmenter:
    """A model for prediction: ``Segmenter("srnet_lite0_camvid")("street.png").overlay()``.

    Args:
        model: a name with published weights, the path of one of srzoo's ``.safetensors`` files or of an ONNX file from
            `srzoo.export_onnx`, which onnxruntime runs, or a model from `create_model` or `load_model`, which is copied
            and fused (`srzoo.fuse`).
        device: "auto" (the GPU if there is one), or anything that ``torch.device`` accepts. On a kind other than "cpu"
            and "cuda", such as "mps", a small image is run at once, to find out whether everything works there.
        tile: segment large images at full detail, in tiles of at most this side in pixels that share the context of the
            whole image (`srzoo.tasks.semantic.tiling.tile_logits`); 1024 is a good size. Without tiles a large image is
            reduced to the model's usual input size. With tiles, files may have as many pixels as fit the memory.
        **view: other fields of the ``View`` of the model's task, such as ``scales=(0.75, 1.0)`` and ``flip=True`` of a
            semantic model, or ``score=0.3`` of a detector.

    Attributes:
        model: the model, fused, on the device and in evaluation mode.
        config: the `srzoo.zoo.config.ModelConfig` of the model.
        task: its `srzoo.tasks.task.Task`.
        view: the task's ``View``.
        device: the device.

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
        is_tiled = getattr(self.view, "tile", None) is not None
        self._max_pixels = most_pixels() if is_tiled else None
        self._check_device()

    def __call__(self, image: Any, brief: bool = False, batch: int = 1) -> Result | list[Result]:
        """Run the model on one image, or on each image of a list or batch.

        Args:
            image: a path, address, bytes, open file, Pillow image, array or tensor, see `srzoo.images.as_image`; a list
                of them; or a batch, a tensor ``(N, 3, H, W)`` or an array ``(N, H, W, 3)``.
            brief: leave out of the result what is large and rarely needed: the `Segmentation.probabilities` of a
                semantic model, 300 MB for an image of 100 million pixels in tiles.
            batch: number of images of a list that are run at a time, as for `stream`.

        Returns:
            The result of the model's task at the size of the image, a `Segmentation`, `Instances` or `Panoptic`; or a
            list of results. It holds no memory of the device.

        Raises:
            srzoo.images.ImageError: an image cannot be read, or there is not enough memory for it; the message names it
                and the reason.
        """
        if isinstance(image, (list, tuple)):
            return list(self.stream(image, batch, brief))
        if isinstance(image, (np.ndarray, torch.Tensor)) and image.ndim == _BATCH_DIMENSIONS:
            return list(self.stream(image, batch, brief))
        return next(self.stream([image], 1, brief))

    def stream(self, images: Iterable[Any], batch: int = 1, brief: bool = False) -> Iterator[Result]:
        """Run the model on images one after the other, of which only those of a batch are in memory.

        Args:
            images: a list, a batch, or whatever yields images as for a call, such as a generator.
            batch: number of images that are read and run at a time. A semantic model runs those of one size together,
                which is faster on a GPU.
            brief: as for a call.

        Yields:
            The result of each image, in order.

        Raises:
            srzoo.images.ImageError: an image cannot be read, or there is not enough memory; raised after the results of
                the images before it.
            ValueError: ``batch`` is not a whole number of at least 1.
        """
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            raise ValueError(f"batch must be a whole number of at least 1, got {batch!r}")
        return self._stream(images, batch, brief)

    def _stream(self, images: Iterable[Any], batch: int, brief: bool) -> Iterator[Result]:
        names, pictures = [], []
        for image in images:
            try:
                picture = as_picture(image, self.config.transform.channels, self._max_pixels)
            except ImageError:
                yield from self._predict(names, pictures, brief)
                raise
            names.append(name_of(image))
            pictures.append(picture)
            if len(pictures) == batch:
                yield from self._predict(names, pictures, brief)
                names, pictures = [], []
        yield from self._predict(names, pictures, brief)

    def _predict(self, names: list[str], pictures: list[Image.Image], brief: bool) -> list[Result]:
        if not pictures:
            return []
        try:
            with torch.inference_mode():
                if len(pictures) == 1:
                    return [self.task.predict(self.model, pictures[0], self.view, brief)]
                return self.task.predict_batch(self.model, pictures, self.view, brief)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            largest = max(range(len(pictures)), key=lambda i: pictures[i].width * pictures[i].height)
            size = f"{pictures[largest].width}x{pictures[largest].height} pixels"
            cure = "resize it, or use smaller scales or tiles"
            if len(pictures) > 1:
                size, cure = f"{size}, in a batch of {len(pictures)}", f"use a smaller batch, {cure}"
            reason = f"{names[largest]}: not enough memory on {self.device} for {size}; {cure}"
        raise ImageError(reason)  # outside of the block, so that the error holds no tensors

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order of id."""
        return self.config.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """An RGB colour (0..255) for each class."""
        return self.config.palette

    def __repr__(self) -> str:
        return f"Segmenter({self.config.name}, {self.task.name}, {len(self.classes)} classes, on {self.device})"

    def _check_device(self) -> None:
        """Run a small image, if the device is of a kind on which not everything is known to run.

        Raises:
            ValueError: it does not run there.
        """
        if self.device.type in _TESTED:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self(Image.new("RGB", (64, 64), "gray"), brief=True)
        except (RuntimeError, TypeError, AssertionError) as error:  # NotImplementedError is a RuntimeError
            raise ValueError(
                f"{self.config.name} does not run on device {str(self.device)!r} ({one_line(error)}); try 'cpu'"
            ) from error


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
