"""Models as ONNX files, in float32, float16 or 8 bits."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..data.bands import as_picture
from ..files import replacing
from ..images import check_several
from ..messages import importing
from .network import ExportedNetwork, form_of
from .program import program_of

_OPSET = 18
_FLOAT_CONVOLUTIONS = 3
# An activation that was not named here would get the convolution's result in float and go back to 8 bits.
_QUANTIZED = ["Conv", "Clip", "Relu"]
_INPUT = "images"


def export_onnx(
    model: nn.Module, path: str | Path, calibrate: Iterable[Any] | None = None, **form: Any
) -> ExportedNetwork:
    """Export a model as an ONNX file of standard operators.

    Args:
        model: from `create_model` or `load_model`. A detector is exported without its choice of boxes, see
            `srzoo.export.network.outputs_of`.
        path: the ``.onnx`` file to write. The classes, the transform and the licence are its metadata.
        calibrate: photographs as the model will see them, a hundred or so, anything that `srzoo.images.as_image`
            takes: convolutions then compute in 8 bits, with ranges measured on these. None for the weights' precision.
        **form: fields of `srzoo.export.network.Form`.

    Returns:
        What was exported, with its metadata.

    Raises:
        ImportError: onnx, onnxscript or, for 8 bits, onnxruntime is not installed.
        ValueError: the model is not one of srzoo's, an unknown or invalid option, or no image to calibrate with.
        srzoo.images.ImageError: an image cannot be read.
        OSError: the file cannot be written.
    """
    if calibrate is not None:
        check_several(calibrate, "calibrate")
    network = ExportedNetwork(model, form_of(form, "export_onnx", "calibrate"))
    if calibrate is not None:
        if network.form.half:
            raise ValueError("half=True and calibrate contradict each other: convolutions compute in 8 or in 16 bits")
        calibrate = _with_one(calibrate)
    with importing("ONNX files need", "'srzoo[export]'"):
        import onnxscript  # noqa: F401

        if calibrate is not None:
            import onnxruntime.quantization  # noqa: F401
    with replacing(path) as temporary:  # at first, since the export takes a while
        onnx = torch.onnx.export(
            program_of(network),
            dynamo=True,
            opset_version=_OPSET,
            input_names=[_INPUT],
            output_names=network.output_names,
            verbose=False,
        )
        onnx.model.metadata_props.update(network.metadata)
        _name_axes(onnx.model, network)
        if calibrate is None:
            onnx.save(temporary)
        else:
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder, "plain.onnx")
                onnx.save(plain)
                _quantize(plain, temporary, network, calibrate)
    return network


def _with_one(images: Iterable[Any]) -> Iterable[Any]:
    """The images, of which there is one at least: known before the export, not after it."""
    images = iter(images)
    try:
        first = next(images)
    except StopIteration:
        raise ValueError(
            "no image to calibrate with; give a folder of photographs as the model will see them"
        ) from None
    return itertools.chain([first], images)


def _name_axes(model: Any, network: ExportedNetwork) -> None:
    """Call the open axes "batch", "height" and "width", which the exporter numbers."""
    graph = model.graph
    (images,) = graph.inputs
    names = {
        str(images.shape[axis]): dim.__name__ for axis, dim in network.dynamic_shapes().items()
    }  # by the exporter's name
    for value in (images, *graph.outputs):
        value.shape = type(value.shape)([names.get(str(side), side) for side in value.shape])


def _quantize(source: Path, target: Path, network: ExportedNetwork, images: Iterable[Any]) -> None:
    """Convolutions in 8 bits, by onnxruntime's static quantization.

    The block is left in float: its moments are sums of products over the whole image, whose range 8 bits cannot hold.
    So are the first convolutions, which see few channels of very different ranges. In srnet_lite0_camvid 8 bits in the
    first three alone cost 8 points of mIoU, in the 53 others 0.2 (16 frames of CamVid's train split). The last one
    gives the logits: onnxruntime resizes what a convolution in float gives twice as fast as other tensors.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    convolutions = [node.name for node in onnx.load(str(prepared)).graph.node if node.op_type == "Conv"]
    quantize_static(
        str(prepared),
        str(target),
        _Calibration(network, images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_QUANTIZED,
        nodes_to_exclude=[*convolutions[:_FLOAT_CONVOLUTIONS], convolutions[-1]],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"CalibMovingAverage": True},
    )
    model = onnx.load(str(target))
    onnx.helper.set_model_props(model, network.metadata)
    onnx.save(model, str(target))


class _Calibration:
    """Yields the network's inputs for images, as onnxruntime asks for them."""

    def __init__(self, network: ExportedNetwork, images: Iterable[Any]):
        self.network, self.images = network, iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        if image is None:
            return None
        x = self._input(as_picture(image, self.network.config.transform.channels))
        return {_INPUT: x.repeat(self.network.form.batch or 1, 1, 1, 1).numpy()}

    def _input(self, image: Image.Image) -> torch.Tensor:
        form, transform = self.network.form, self.network.config.transform
        if form.size is not None:
            image = image.resize(form.size[::-1], Image.Resampling.BILINEAR)
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        else:
            x = transform.resize(image)
        return x.permute(0, 2, 3, 1).contiguous() if form.images == "uint8" else transform.normalize(x)
