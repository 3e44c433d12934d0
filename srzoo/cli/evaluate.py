"""Measure a model's mIoU on a split, and write the receipt."""

import argparse
from pathlib import Path

from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="a name with published weights, or a .safetensors file of ours")
    parser.add_argument(
        "--data.root", dest="root", required=True, metavar="PATH", help="folder of the data set (CamVid's layout)"
    )
    parser.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="write the figures and their protocol as JSON")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    with heavy_imports():
        from ..data.camvid import CamVid
        from ..predict import Segmenter
        from ..train.evaluation import evaluate
        from ..train.receipt import make_receipt, write_receipt

    dataset = CamVid(options.root, options.split)
    segmenter = Segmenter(options.model, options.device)
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
