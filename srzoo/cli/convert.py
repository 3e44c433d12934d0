"""Convert a checkpoint of the paper's authors or of another project to one of srzoo's files."""

import argparse
from pathlib import Path

from ..messages import printable
from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="IN",
        help="the authors' .pth file, an SRNet or an ImageNet ResNet for it; or a detector of torchvision, "
        "detectron2 or mmdetection",
    )
    parser.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    parser.add_argument("--dataset", help="dataset of the model's classes (default: the one with these)")


def run(options: argparse.Namespace) -> int:
    with heavy_imports():
        from ..zoo.conversion import convert

    what = convert(options.source, options.target, options.dataset)
    print(f"{printable(str(options.source))}: {printable(what)} -> {printable(str(options.target))}")
    return 0
