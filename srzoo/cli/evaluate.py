"""Evaluate a model on a split, and write a receipt."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluate.distributed import is_main_process, process_group
from ..messages import one_line, visible
from ..tasks.allocator import keep_freed_memory, return_freed_memory
from .arguments import path_argument, repeated
from .data_options import add_data_arguments, given_reading
from .outputs import output_folder, percent, unique_stems
from .startup import heavy_imports
from .view_options import add_view_options, given_view

if TYPE_CHECKING:
    from ..data.samples import ImageData
    from ..predict import Segmenter
    from ..tasks.task import Export

_EXPORT = "--export or --results"  # one option, as messages name it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="a name from `srzoo list --pretrained`, one of srzoo's .safetensors or .onnx files, or hf-hub:owner/name",
    )
    add_data_arguments(parser)
    parser.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    parser.add_argument(
        "--receipt",
        type=path_argument,
        metavar="FILE",
        help="JSON file to add the figures to, with all that repeats them",
    )
    parser.add_argument("--json", action="store_true", help="print that as JSON, for programs, instead of the table")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="draw the N images with the lowest figures")
    parser.add_argument(
        "--out",
        type=path_argument,
        default=Path("worst"),
        metavar="DIR",
        help="folder for --worst (default: %(default)s)",
    )
    parser.add_argument(
        "--export",
        "--results",
        type=path_argument,
        metavar="PATH",
        help="folder for predictions in the format that other tools read: for semantic models PNG files of the "
        "benchmark's ids, for others COCO's results, whose JSON file can be given instead",
    )
    parser.add_argument(
        "--confusion",
        type=path_argument,
        metavar="FILE",
        help="draw the confusion matrix, for semantic models, as a PNG file",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    add_view_options(parser, measured=True)


def run(options: argparse.Namespace) -> int:
    from ..data.opening import open_dataset
    from ..evaluate.classes import in_order_of_model
    from ..evaluate.reading import reading_for
    from ..tasks.task import get_task, make_view
    from ..zoo.info import task_of

    task = get_task(task_of(options.model))
    view = {**task.View.MEASURED, **given_view(options)}
    make_view(task, view)  # before the long imports, to check it
    reading = reading_for(options.model, task.name, given_reading(options))
    root = reading.pop("root")
    with heavy_imports():
        from ..evaluate.overwriting import refuse_to_overwrite
        from ..evaluate.receipt import read_receipts
        from ..evaluate.worst import WorstImages
        from ..predict import Segmenter
        from ..zoo.weights import is_onnx_file

    if options.confusion and options.confusion.suffix.lower() != ".png":
        raise ValueError(f"--confusion {options.confusion} is a PNG file, whose name ends in .png")
    worst = WorstImages(options.worst)
    if options.receipt:
        read_receipts(options.receipt)  # before the long run, to check that it is a file of receipts
    folders = {
        "--out": options.out if options.worst else None,
        "--receipt": options.receipt and options.receipt.parent,
        "--confusion": options.confusion and options.confusion.parent,
    }
    with contextlib.ExitStack() as stack:
        for name, folder in folders.items():
            if folder:
                stack.enter_context(output_folder(folder, name))
        stack.enter_context(process_group(options.device))  # sets the GPU of each process
        precision = "auto" if is_onnx_file(options.model) else "float32"  # figures of every device compare
        segmenter = Segmenter(options.model, options.device, precision=precision, **view)
        is_kept = keep_freed_memory(segmenter.device.type)
        classes = segmenter.config.classes
        dataset = open_dataset(root, options.split, num_classes=len(classes), task=task.name, **reading)
        dataset.channels = segmenter.config.transform.channels
        task.check({options.split: dataset}, len(classes), root, training=False)
        dataset = in_order_of_model(dataset, segmenter.config.labels)
        stems = unique_stems(dataset.image_names())
        names = [stems[name] for name in dataset.image_names()]
        export = task.export(options.export, segmenter.config, dataset) if options.export else None
        if export:
            paths = export.paths(names)
            refuse_to_overwrite(dataset, task.name, paths, _EXPORT, export.is_own)
            for folder in dict.fromkeys(path.parent for path in paths):
                stack.enter_context(output_folder(folder, _EXPORT))
        return _measure(options, segmenter, dataset, names, export, worst, is_kept)


def _measure(
    options: argparse.Namespace,
    segmenter: Segmenter,
    dataset: ImageData,
    names: list[str],
    export: Export | None,
    worst: Any,
    is_memory_kept: bool,
) -> int:
    """Evaluate, print the figures, and write what is asked for; ``names`` are those of the images in files."""
    from ..evaluate.evaluation import merged, predictions
    from ..evaluate.overwriting import refuse_to_overwrite
    from ..evaluate.receipt import add_receipt, make_receipt, weights_facts
    from ..files import replacing
    from ..tasks.saving import mark, save_png
    from ..tasks.task import make_view

    config, task, view = segmenter.config, segmenter.task, segmenter.view
    weights, data = (weights_facts(options.model), dataset.facts()) if is_main_process() else ({}, {})
    meter = task.meter(config, segmenter.device, view=view)
    if options.confusion:
        if not hasattr(meter, "confusion"):
            raise ValueError(f"--confusion draws classes of pixels, and {task.name} models have none; leave it out")
        refuse_to_overwrite(dataset, task.name, [options.confusion], "--confusion")
    failures = _Failures()
    for done, (index, sample, result) in enumerate(predictions(segmenter.model, dataset, view, progress=True), 1):
        if is_memory_kept:
            return_freed_memory(done)
        figure = meter.update(result, sample)
        if figure is not None:
            worst.update(figure, index, lambda: task.comparison(result, sample, config))  # noqa: B023 (called at once)
        if export and not failures.errors:
            with failures.kept():
                export.add(result, index, names[index])
    said = sys.stderr if options.json else sys.stdout
    meter, worst, export, failures = merged(meter), merged(worst), export and merged(export), merged(failures)
    if not is_main_process():
        return 0
    if export and not failures.errors:
        with failures.kept():
            export.finish()
            print(f"predictions for {len(dataset)} images in {options.export}", file=said)
    score = meter.score()
    if score is None:
        print("null" if options.json else f"nothing in {options.split} is labelled, so there are no figures")
        failures.tell()
        return 0
    usual = make_view(task, {}, measured=True, config=config)
    command = ["srzoo", "eval", "--model", options.model, *dataset.arguments(), *repeated(view, usual)]
    protocol = view.sentence(config.transform)
    receipt = make_receipt(weights, data, score, view, protocol, command, segmenter.device)
    if options.receipt:
        with failures.kept():
            add_receipt(receipt, options.receipt)
    print(json.dumps(receipt, indent=2) if options.json else table(receipt))
    if options.confusion:
        with failures.kept():
            with replacing(options.confusion) as temporary:
                save_png(meter.confusion(), temporary, mark())
            print(options.confusion, file=said)
    with failures.kept():
        for path in worst.write(options.out, names, score.headline):
            print(visible(str(path)), file=said)
    failures.tell()
    return 0


@dataclasses.dataclass
class _Failures:
    """Errors of outputs that could not be written, which must not cost the figures of a long evaluation."""

    errors: list[Exception] = dataclasses.field(default_factory=list)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Context manager that keeps an error, and leaves its block."""
        try:
            yield
        except BrokenPipeError:  # of stdout
            raise
        except (ValueError, OSError) as error:
            self.errors.append(error)

    def merge(self, other: _Failures) -> None:
        """Add the errors of another process."""
        self.errors += other.errors

    def tell(self) -> None:
        """Print all errors but the last, which is raised."""
        for error in self.errors[:-1]:
            print(f"srzoo: {one_line(error)}", file=sys.stderr)
        if self.errors:
            raise self.errors[-1]


def table(receipt: dict) -> str:
    """The figures of a receipt as text: a line for each class, the figures of the split, and the protocol."""
    columns = receipt["by_class"]
    lines = []
    if columns:
        first = next(iter(columns.values()))
        width, widths = max(map(len, first)), {name: max(7, len(name)) for name in columns}
        lines.append(f"{'':{width}}  " + "  ".join(f"{name:>{widths[name]}}" for name in columns))
        for each in first:
            cells = (f"{percent(values[each]):>{widths[name]}}" for name, values in columns.items())
            lines.append(f"{each:{width}}  " + "  ".join(cells))
    lines.append(", ".join(f"{name} {percent(value)}" for name, value in receipt["figures"].items()))
    lines.append(f"{receipt['images']} images of {receipt['split']}, {receipt['protocol']}")
    return "\n".join(lines)
