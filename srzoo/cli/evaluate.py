"""Measure a model's mIoU on a split, and write the receipt."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..tasks.semantic.protocol import Protocol
from .data_options import add_data_arguments, check_quickly
from .outputs import prepare_folder, unique_stems
from .startup import heavy_imports

if TYPE_CHECKING:
    from ..data.samples import SemanticData
    from ..predict import Segmenter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="a name with published weights, or a .safetensors file of ours")
    add_data_arguments(parser)
    parser.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], metavar="S", help="average over these scales of the input"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image, too")
    parser.add_argument(
        "--window", type=int, metavar="PIXELS", help="slide a window of this side over the input, by two thirds of it"
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="run the input in tiles, which share the whole image's context, and at no less than its own size times S",
    )
    parser.add_argument(
        "--halo",
        type=int,
        default=Protocol.halo,
        metavar="PIXELS",
        help="real image around a tile (default: %(default)s)",
    )
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="add the figures and their protocol to this JSON")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="draw the N images of lowest mIoU")
    parser.add_argument(
        "--out", type=Path, default=Path("worst"), metavar="DIR", help="folder for --worst (default: %(default)s)"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write every prediction as a PNG of ids, for Cityscapes those that its server takes",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from ..data.opening import detect_format, open_dataset

    protocol = Protocol(tuple(options.scales), options.flip, options.window, options.tile, options.halo)
    format = options.format or detect_format(options.root)
    with heavy_imports():
        from ..distributed import process_group
        from ..evaluate.receipt import read_receipts
        from ..predict import Segmenter

    if options.receipt:
        read_receipts(options.receipt)  # before the long run, to see that it can be added to
    folders = {
        "--out": options.out if options.worst > 0 else None,
        "--export": options.export,
        "--receipt": options.receipt and options.receipt.parent,
    }
    for option, folder in folders.items():
        if folder:
            prepare_folder(folder, option)
    with process_group(options.device):  # which gives each process its GPU
        segmenter = Segmenter(options.model, options.device)
        classes = segmenter.config.classes
        dataset = open_dataset(options.root, options.split, format, len(classes), options.id_map)
        if dataset.id_map.is_assumed:  # read wrongly, masks give a figure all the same
            check_quickly({options.split: dataset}, len(classes), options.root, may_be_void=True)
        if dataset.labels and dataset.labels.classes != classes:
            theirs, ours = next((a, b) for a, b in zip(dataset.labels.classes, classes) if a != b)
            warnings.warn(f"the data's classes are not the model's: {theirs!r} is compared with {ours!r}", stacklevel=1)
        return _measure(options, segmenter, dataset, protocol)


def _measure(options: argparse.Namespace, segmenter: Segmenter, dataset: SemanticData, protocol: Protocol) -> int:
    from ..distributed import rank
    from ..evaluate.evaluation import predictions
    from ..evaluate.receipt import add_receipt, make_receipt, weights_facts
    from ..evaluate.worst import WorstImages
    from ..tasks.semantic.boundary import BoundaryF1
    from ..tasks.semantic.metrics import ConfusionMatrix
    from ..tasks.semantic.submission import official_ids, write_submission

    config, weights = segmenter.config, weights_facts(options.model)
    stems = unique_stems(dataset.image_names())
    names = [stems[name] for name in dataset.image_names()]
    if options.export:
        _refuse_to_overwrite(dataset, options.export, names)
    ids = official_ids(config.classes)
    matrix, boundary = ConfusionMatrix(len(config.classes)), BoundaryF1(len(config.classes))
    worst = WorstImages(options.worst, len(config.classes))
    for prediction in predictions(segmenter.model, dataset, protocol, progress=True):
        matrix.update(prediction.labels, prediction.target)
        boundary.update(prediction.labels, prediction.target)
        if options.worst:
            worst.update(prediction)
        if options.export:
            path = options.export / f"{names[prediction.index]}.png"
            write_submission(prediction.labels.cpu().numpy(), ids, path)
    for metric in (matrix, boundary, worst):
        metric.gather()
    if rank():
        return 0
    if options.export:
        print(f"{len(dataset)} predictions in {options.export}")
    if not matrix.counts.any():
        print(f"no pixel of {options.split} is labelled: there is nothing to measure")
        return 0
    receipt = make_receipt(options.model, weights, config, dataset, protocol, matrix, boundary, segmenter.device)
    try:
        if options.receipt:
            add_receipt(receipt, options.receipt)
    finally:  # a full disk does not take the figures with it
        print(table(receipt))
    for path in worst.write(options.out, dataset, names, config):
        print(path)
    return 0


def _refuse_to_overwrite(dataset: SemanticData, folder: Path, names: list[str]) -> None:
    """Raise ValueError where a prediction would go into an image or a mask of the data set."""
    own = {path.resolve() for path in dataset.files()}
    taken = next((path for name in names if (path := folder / f"{name}.png").resolve() in own), None)
    if taken:
        raise ValueError(f"{taken} is the data set's own, and a prediction would replace it; give --export another DIR")


def table(receipt: dict) -> str:
    """A line for each class, the means, and the protocol."""
    width = max(map(len, receipt["iou"]))
    lines = [f"{'':{width}}  {'IoU':>7}  boundary F1"]
    for name, iou in receipt["iou"].items():
        f1 = receipt["boundary_f1_by_class"][name]
        lines.append(f"{name:{width}}  {_percent(iou):>7}  {_percent(f1):>11}")
    lines.append(f"{'mean':{width}}  {_percent(receipt['miou']):>7}  {_percent(receipt['boundary_f1']):>11}")
    lines.append(f"mIoU {receipt['miou']:.2%}, pixel accuracy {receipt['pixel_accuracy']:.2%}")
    lines.append(f"{receipt['images']} images of {receipt['split']}, {receipt['protocol']}")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{value:.2%}"
