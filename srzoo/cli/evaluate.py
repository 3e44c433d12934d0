"""Measure a model's mIoU on a split, and write the receipt."""

import argparse
import warnings
from pathlib import Path

from .data import add_data_arguments
from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="a name with published weights, or a .safetensors file of ours")
    add_data_arguments(parser)
    parser.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="write the figures and their protocol as JSON")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from ..data.formats import detect_format, open_dataset

    format = options.format or detect_format(options.root)
    with heavy_imports():
        from ..predict import Segmenter
        from ..train.evaluation import evaluate
        from ..train.receipt import make_receipt, write_receipt

        segmenter = Segmenter(options.model, options.device)
    classes = segmenter.config.classes
    dataset = open_dataset(options.root, options.split, format, len(classes), options.id_map)
    if dataset.labels and dataset.labels.classes != classes:
        theirs, ours = next((a, b) for a, b in zip(dataset.labels.classes, classes) if a != b)
        warnings.warn(f"the data's classes are not the model's: {theirs!r} is compared with {ours!r}", stacklevel=1)
    matrix = evaluate(segmenter.model, dataset, progress=True)
    receipt = make_receipt(options.model, segmenter.config, dataset, matrix)
    width = max(map(len, receipt["iou"]))
    for name, value in receipt["iou"].items():
        print(f"{name:{width}}  {'absent' if value is None else f'{value:7.2%}'}")
    print(f"{'mIoU':{width}}  {receipt['miou']:7.2%}   pixel accuracy {receipt['pixel_accuracy']:.2%}")
    print(f"{len(dataset)} images of {options.split}, {receipt['protocol']}")
    if options.receipt:
        write_receipt(receipt, options.receipt)
    return 0
