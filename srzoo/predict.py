"""Prediction: an image in, the result of a model out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from .data.bands import Bands, as_picture
from .data.georeference import Georeference, georeference_of
from .export.onnx_model import OnnxModel
from .images import BATCH_DIMENSIONS, ImageError, check_several, most_pixels, name_of
from .layers.checks import check_choice, check_flag, check_whole
from .messages import one_line
from .models.base import check_zoo_model
from .models.devices import resolve_device
from .models.folding import fuse
from .models.replay import Replay
from .tasks.task import Result, get_task, make_view
from .zoo.factory import trained_model
from .zoo.weights import is_onnx_file

DEFAULT_MODEL = "srnet_lite0_camvid"
_TESTED = ("cpu", "cuda")  # kinds of devices; on others, such as "mps" and "xpu", srzoo's operators are plain PyTorch
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
_FAST_HALF = (7, 0)  # compute capability: Volta's tensor cores


@dataclass(frozen=True, eq=False)
class ReadImage:
    """An image that `Segmenter.read` has read.

    Attributes:
        source: what it was read from.
        picture: its pixels.
        georeference: of a file that has one.
    """

    source: Any
    picture: Image.Image | Bands
    georeference: Georeference | None


class Segmenter:
    """A model for prediction: ``Segmenter("srnet_lite0_camvid")("street.png").overlay()``.

    Args:
        model: a name with published weights, the path of one of srzoo's ``.safetensors`` files or of an ONNX file from
            `srzoo.export_onnx`, which onnxruntime runs; a model elsewhere, as for `srzoo.load_model`; or a model from
            `create_model` or `load_model`, which is copied and fused (`srzoo.fuse`).
        device: "auto" (the GPU if there is one), or anything that ``torch.device`` accepts. On a kind other than "cpu"
            and "cuda", such as "mps", a small image is run at once, to find out whether everything works there.
        tile: segment large images at full detail, in tiles of at most this side in pixels that share the context of the
            whole image (`srzoo.tasks.semantic.tiling.tile_logits`); 1024 is a good size. Without tiles a large image is
            reduced to the model's usual input size. With tiles, files may have as many pixels as fit the memory.
        precision: of the weights and of what the network computes: "float32", "float16", "bfloat16", or "auto": float16
            for semantic models on a CUDA device of compute capability 7.0 or higher, and float32 elsewhere. With "auto"
            a model that is not in float32 keeps its own.
        graph: replay a semantic model's network as a CUDA graph, for sizes of images that come again: faster for small
            images, whose launches take longer than their work. It keeps the memory of up to eight sizes. Not with
            ``tile`` or ``window``.
        **view: other fields of the ``View`` of the model's task, such as ``scales=(0.75, 1.0)`` and ``flip=True`` of a
            semantic model, or ``score=0.3`` of a detector.

    Attributes:
        model: the model, fused, on the device and in evaluation mode.
        config: the `srzoo.zoo.config.ModelConfig` of the model.
        task: its `srzoo.tasks.task.Task`.
        view: the task's ``View``: what was given, then the model's own thresholds, then the defaults.
        device: the device.

    Raises:
        ValueError: there is no such model or device, the name has no published weights, or the model does not support
            the view.
        FileNotFoundError: there is no such weights file.
        ImportError: for an ONNX file, onnxruntime is not installed.
        RuntimeError: a model elsewhere cannot be reached.
    """

    def __init__(
        self,
        model: str | Path | nn.Module = DEFAULT_MODEL,
        device: str | torch.device = "auto",
        tile: int | None = None,
        precision: str = "auto",
        graph: bool = False,
        **view: Any,
    ):
        check_choice("precision", precision, PRECISIONS)
        check_flag(graph=graph)
        self.device = resolve_device(device)
        if is_onnx_file(model):
            model = OnnxModel(model)
        elif isinstance(model, (str, Path)):
            model = trained_model(model)
        check_zoo_model(model, "Segmenter")
        self.config, self.task = model.config, get_task(model.task)
        self.view = make_view(self.task, view if tile is None else {**view, "tile": tile}, config=self.config)
        self.task.check_view(model, self.view)
        if isinstance(model, OnnxModel):
            if precision != "auto":
                raise ValueError(f"precision={precision!r}: an ONNX file has the precision that it was exported in")
            self.model = model.eval()
        else:
            dtype = _dtype_on(self.device, model) if precision == "auto" else getattr(torch, precision)
            self.model = fuse(model, dtype=dtype).to(self.device, memory_format=torch.channels_last)
        if self.device.type == "cpu" and next(self.model.parameters(), torch.empty(0)).dtype == torch.float16:
            warnings.warn("float16 takes many times as long as float32 on a CPU; use bfloat16", stacklevel=2)
        if graph:
            self._check_graphs()
        self._replay = Replay(self.model) if graph else None
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
        if isinstance(image, (np.ndarray, torch.Tensor)) and image.ndim == BATCH_DIMENSIONS:
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
            ValueError: ``batch`` is not a whole number of at least 1, or ``images`` is a single image.
        """
        check_whole(batch=batch)
        check_several(images, "stream")
        return self._stream(images, batch, brief)

    def _stream(self, images: Iterable[Any], batch: int, brief: bool) -> Iterator[Result]:
        held: list[ReadImage] = []
        for image in images:
            try:
                held.append(image if isinstance(image, ReadImage) else self.read(image))
            except ImageError:
                yield from self._placed(held, brief)
                raise
            if len(held) == batch:
                yield from self._placed(held, brief)
                held = []
        yield from self._placed(held, brief)

    def read(self, image: Any) -> ReadImage:
        """Read an image for a call, which takes it in place of the image: in another thread, or before its turn.

        Raises:
            srzoo.images.ImageError: as for a call.
        """
        picture = as_picture(image, self.config.transform.channels, self._max_pixels)
        return ReadImage(image, picture, georeference_of(image))

    def _placed(self, images: list[ReadImage], brief: bool) -> list[Result]:
        """The results, with the georeference of the files that have one."""
        results = self._predict([name_of(each.source) for each in images], [each.picture for each in images], brief)
        for each, result in zip(images, results):
            result.georeference = each.georeference
        return results

    def _predict(self, names: list[str], pictures: list[Image.Image], brief: bool) -> list[Result]:
        if not pictures:
            return []
        network = self.model if self._replay is None else self._replay
        try:
            with torch.inference_mode():
                if len(pictures) == 1:
                    return [self.task.predict(network, pictures[0], self.view, brief)]
                return self.task.predict_batch(network, pictures, self.view, brief)
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

    def _check_graphs(self) -> None:
        """Check that the network can be replayed as a CUDA graph.

        Raises:
            ValueError: it is not on such a device, not a semantic model's, or runs in parts.
        """
        if self.device.type != "cuda" or isinstance(self.model, OnnxModel):
            where = "onnxruntime" if isinstance(self.model, OnnxModel) else f"device {str(self.device)!r}"
            raise ValueError(f"graph=True needs a model of PyTorch on a CUDA device, and it is on {where}")
        parts = next((name for name in ("tile", "window") if getattr(self.view, name, None) is not None), None)
        if self.task.name != "semantic" or parts:
            what = parts or f"task {self.task.name!r}"
            raise ValueError(f"graph=True is for semantic models and whole images, without {what}; leave it out")

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


def _dtype_on(device: torch.device, model: nn.Module) -> torch.dtype | None:
    """The dtype of "auto": float16 for semantic models where a GPU is fastest in it, or None for the model's own."""
    is_full = all(parameter.dtype == torch.float32 for parameter in model.parameters())
    if device.type != "cuda" or model.task != "semantic" or not is_full:
        return None
    return torch.float16 if torch.cuda.get_device_capability(device) >= _FAST_HALF else None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether this is one of the errors that allocators and libraries of any device raise."""
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in text
        for words in ("out of memory", "allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
    )
