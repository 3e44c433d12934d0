"""Convert a checkpoint of the paper's authors or of another project to one of srzoo's files."""

import argparse

from ..messages import visible
from .arguments import path_argument
from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=path_argument,
        metavar="IN",
        help="the authors' .pth file, an SRNet or an ImageNet ResNet for it; or a detector of torchvision, "
        "detectron2 or mmdetection",
    )
    parser.add_argument("target", type=path_argument, metavar="OUT", help="the .safetensors file to write")
    parser.add_argument("--dataset", help="dataset of the model's classes (default: the one with these)")


def run(options: argparse.Namespace) -> int:
    with heavy_imports():
        from ..zoo.conversion import convert

    what = convert(options.source, options.target, options.dataset)
    print(f"{visible(str(options.source))}: {visible(what)} -> {visible(str(options.target))}")
    return 0
