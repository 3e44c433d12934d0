"""Export a model as an ONNX file, a torch.export program or a compiled AOTInductor package."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import path_argument
from .outputs import output_folder
from .startup import heavy_imports

_ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "aoti": ".pt2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="NAME_or_FILE", help="a name with weights, or one of srzoo's .safetensors files"
    )
    parser.add_argument(
        "--format",
        choices=_ENDINGS,
        default="onnx",
        help="ONNX of standard operators, a program that torch.export.load reads, or code compiled for this kind of "
        "machine; none of them needs srzoo (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=path_argument, metavar="FILE", help="file to write (default: <name>.onnx or <name>.pt2)"
    )
    parser.add_argument(
        "--size", type=_size, metavar="HxW|dynamic", default=None, help="size of the images (default: dynamic)"
    )
    parser.add_argument(
        "--batch", type=_batch, metavar="N|dynamic", default=1, help="number of images at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--input",
        choices=("float", "uint8"),
        default="float",
        help="normalized floats (N, 3, H, W), or RGB bytes (N, H, W, 3) (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        choices=("logits", "labels"),
        default="logits",
        help="logits (N, K, H, W), or class ids (N, H, W) (default: %(default)s)",
    )
    parser.add_argument("--half", action="store_true", help="float16 weights and logits, for GPUs")
    parser.add_argument("--int8", action="store_true", help="convolutions in 8 bits (ONNX); needs --calibrate")
    parser.add_argument(
        "--calibrate", metavar="DIR", help="photographs as the model will see them, to measure the ranges of 8 bits on"
    )
    parser.add_argument("--device", help="an AOTInductor package is compiled for: cpu or cuda (default: cpu)")


def run(options: argparse.Namespace) -> int:
    from .inputs import find_images

    if options.int8 != bool(options.calibrate):
        raise ValueError("--int8 and --calibrate DIR belong together: 8 bits need ranges, which photographs give")
    if options.int8 and (options.format != "onnx" or options.half):
        raise ValueError("--int8 is for --format onnx, and without --half")
    if options.device and options.format != "aoti":
        raise ValueError(f"--device is for --format aoti; a file of --format {options.format} runs on any device")
    images = None
    if options.calibrate:
        found = find_images([options.calibrate])
        if found.failures:
            raise ValueError(found.failures[0])
        images = list(found.images)
    target = options.out or Path(Path(options.model).stem + _ENDINGS[options.format])
    if target.suffix != _ENDINGS[options.format]:
        raise ValueError(f"--out {target} must end in {_ENDINGS[options.format]} for --format {options.format}")
    if target.is_dir():
        raise IsADirectoryError(f"--out {target} is a folder; name a file in it")
    with output_folder(target.parent):
        with heavy_imports():
            from ..export.onnx import export_onnx
            from ..export.package import export_package
            from ..export.program import export_program
            from ..zoo.factory import trained_model

        model = trained_model(options.model)
        form = {
            "size": options.size,
            "batch": options.batch,
            "images": options.input,
            "output": options.output,
            "half": options.half,
        }
        if options.format == "onnx":
            network = export_onnx(model, target, images, **form)
        elif options.format == "aoti":
            network = export_package(model, target, options.device or "cpu", **form)
        else:
            network = export_program(model, target, **form)
    print(f"{options.model} -> {target} ({target.stat().st_size / 1e6:.1f} MB)")
    multiple = network.metadata.get("sides_are_multiples_of")
    if multiple:
        print(f"height and width of its images must be multiples of {multiple}")
    if options.format == "aoti":  # it would read others wrongly, without an error
        print(
            "give it contiguous images of this dtype and size; AOTI_RUNTIME_CHECK_INPUTS=1 in the environment checks it"
        )
    return 0


def _size(text: str) -> tuple[int, int] | None:
    """``HxW`` in pixels; None for "dynamic"."""
    if text == "dynamic":
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"expected HxW such as 528x720, or dynamic, got {text!r}")
    return int(sides[0]), int(sides[1])


def _batch(text: str) -> int | None:
    """A number of images; None for "dynamic"."""
    if text == "dynamic":
        return None
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, or dynamic, got {text!r}")
    return int(text)
