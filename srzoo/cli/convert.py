"""Convert a checkpoint of the authors' code into a file of ours."""

import argparse
from pathlib import Path

from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="their .pth file: SRNet, or an ImageNet ResNet for it")
    parser.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    parser.add_argument("--dataset", help="whose classes the model has (default: the data set with as many)")


def run(options: argparse.Namespace) -> int:
    with heavy_imports():
        from ..zoo.released import convert

    what = convert(options.source, options.target, options.dataset)
    print(f"{options.source}: {what} -> {options.target}")
    return 0
