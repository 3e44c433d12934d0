"""An exported ONNX file as a model: onnxruntime computes its logits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..messages import importing, one_line
from ..models.base import ZooModel
from ..zoo.config import ModelConfig
from .network import KEY, Form


class OnnxModel(ZooModel):
    """A semantic model in an ONNX file of `srzoo.export.onnx.export_onnx`, for prediction.

    Args:
        path: the file.
        providers: of onnxruntime; default all that work here.

    Attributes:
        task, config: as of any model of the zoo, from the file's metadata.
        form: what the network in the file takes and returns.
        num_classes: number of classes.
        logits_stride: stride of the logits.

    Shape:
        ``(N, 3, H, W)`` normalized floats to ``(N, K, H, W)`` logits in float32. An image is resized to the size of the
        network's images if that is fixed. Where the network returns labels, the logits are 1 for the label, else 0.

    Raises:
        ImportError: onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is not one of srzoo's, holds a detector, or its network is not what its metadata says.
    """

    task = "semantic"
    logits_stride = 1

    def __init__(self, path: str | Path, providers: list[str] | None = None):
        super().__init__()
        self.session = _session(path, providers)
        own = _metadata(self.session, path)
        config = ModelConfig.from_json(json.dumps(own["config"]))
        if config.task != self.task:
            raise ValueError(
                f"{path} holds the network of a detector, without its choice of boxes; use the .safetensors file"
            )
        self.path, self.providers = path, providers
        self.form = _form(own, path)
        try:
            (_,), (_,) = self.session.get_inputs(), self.session.get_outputs()
        except ValueError as error:
            raise ValueError(f"{path} is no file of this `srzoo export` ({one_line(error)})") from error
        self.input_multiple, self.align_corners = config.transform.multiple, bool(own["align_corners"])
        self.num_classes = len(config.classes)
        self.configure(config)
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # callers ask parameters for device and dtype

    def __reduce__(self):
        """A copy, also one in another process, opens the file anew: a session of onnxruntime cannot be copied."""
        state = {"training": self.training, "config": self.config}
        return OnnxModel, (Path(self.path).absolute(), self.providers), state

    def forward(self, x: torch.Tensor, upsample: bool = True) -> torch.Tensor:
        """Logits at the size of ``x``, with ``upsample`` or without: the size of the image may be asked for later."""
        size = tuple(x.shape[-2:])
        if self.form.size is not None and size != self.form.size:
            x = F.interpolate(x, size=self.form.size, mode="bilinear", align_corners=False, antialias=True)
        count = self.form.batch or len(x)
        parts = [self._run(x[i : i + count], count) for i in range(0, len(x), count)]
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)  # cat would copy a single part
        if upsample and tuple(logits.shape[-2:]) != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)
        return logits

    def _run(self, x: torch.Tensor, count: int) -> torch.Tensor:
        """The logits of at most ``count`` images, which is what the network takes."""
        given = x.float() if len(x) == count else F.pad(x, (0, 0, 0, 0, 0, 0, 0, count - len(x))).float()
        if self.form.images == "uint8":
            transform = self.config.transform
            mean, std = (torch.tensor(each)[:, None, None] for each in (transform.mean, transform.std))
            given = ((given * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        elif self.form.half:
            given = given.half()
        (name,) = (each.name for each in self.session.get_inputs())
        try:
            (found,) = self.session.run(None, {name: np.ascontiguousarray(given.numpy())})
        except Exception as error:  # onnxruntime's own types, which are not documented
            raise ValueError(f"onnxruntime cannot run {self.path} ({one_line(error)})") from error
        labels = self.form.output == "labels"
        shape = (count, *([] if labels else [self.num_classes]))
        if found.ndim != (3 if labels else 4) or found.shape[: len(shape)] != shape:
            raise ValueError(
                f"{self.path} returns an array of shape {found.shape}, which is no {self.form.output} of {count} "
                f"images in {self.num_classes} classes; export it anew"
            )
        found = torch.from_numpy(found)[: len(x)]
        if labels:
            if found.is_floating_point() or found.min() < 0 or found.max() >= self.num_classes:
                raise ValueError(f"{self.path} returns labels that are no ids of its {self.num_classes} classes")
            found = F.one_hot(found.long(), self.num_classes).permute(0, 3, 1, 2)
        return found.float()


def read_onnx_file(path: str | Path) -> tuple[ModelConfig, Form, str]:
    """The configuration of the model in an ONNX file, of any task, what its network takes, and its licences.

    Raises:
        ImportError: onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is not one of srzoo's.
    """
    session = _session(path, ["CPUExecutionProvider"])
    own = _metadata(session, path)
    licence = session.get_modelmeta().custom_metadata_map.get("licence", "")
    return ModelConfig.from_json(json.dumps(own["config"])), _form(own, path), licence


def _session(path: str | Path, providers: list[str] | None):
    with importing("an ONNX file needs", "onnxruntime"):
        import onnxruntime
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers or onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime's own types, which are not documented
        raise ValueError(f"{path} is not an ONNX file that onnxruntime can run ({one_line(error)})") from error


def _form(own: dict, path: str | Path) -> Form:
    try:
        size = own["form"]["size"]
        return Form(**{**own["form"], "size": tuple(size) if isinstance(size, list) else size})
    except (KeyError, TypeError, ValueError) as error:  # another version's, or another program has changed it
        raise ValueError(f"{path} is no file of this `srzoo export` ({one_line(error)})") from error


def _metadata(session, path: str | Path) -> dict:
    """What `srzoo.export.network.metadata` put into the file under `KEY`."""
    try:
        own = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
        if {"config", "form", "align_corners"} <= own.keys():
            return own
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{path} was not exported by srzoo, so its classes and transform are unknown; use `srzoo export`")
