"""Convert the files of other projects to srzoo's."""

from __future__ import annotations

from pathlib import Path

from ..messages import nearest
from .datasets import DATASETS
from .factory import foreign_weights
from .foreign.recognition import detector_in, read_foreign
from .released import convert_released
from .weights import write_model_file


def convert(source: str | Path, target: str | Path, dataset: str | None = None) -> str:
    """Convert a checkpoint of the authors' code or of another project to one of srzoo's files, written atomically.

    Args:
        source: a ``.safetensors`` file, a PyTorch file, or detectron2's ``.pkl``, each read without executing code. It
            contains one of:

            * SRNet with ResNet-50 or 101; the target is a file for `load_model` and `Segmenter`.
            * An ImageNet ResNet-50 or 101 with a deep stem; the target is a file for ``pretrained_backbone=``.
            * The authors' block alone; the target is the state dict of a `ReleasedSqueezeReasoning`.
            * Mask R-CNN of torchvision, detectron2 or mmdetection, Cascade Mask R-CNN or Panoptic FPN of the last two,
              over a ResNet or a ResNeXt; the target is a file for `load_model` and `Segmenter`, and computes the same.
        target: the ``.safetensors`` file. An existing file is replaced.
        dataset: the dataset of the model's classes, in its order; default for SRNet the only one with this number of
            classes, for a detector the one with the names in the file, or COCO if it may be that; else the classes are
            numbered.

    Returns:
        What the source contains, in a few words.

    Raises:
        FileNotFoundError: no such file, or no folder for the target.
        IsADirectoryError: the target is a folder.
        ValueError: the source contains none of these or is damaged; the target is not a ``.safetensors`` file, or is
            the source; an unknown dataset, or one with another number of classes.
    """
    source, target = Path(source), Path(target)
    if dataset is not None and dataset not in DATASETS:
        known = ", ".join(DATASETS)
        raise ValueError(f"unknown dataset {dataset!r}{nearest(dataset, DATASETS)}; there are {known}")
    _check_target(source, target)
    state, others = read_foreign(source)
    try:
        detector = detector_in(state, others)
        if detector is None:
            return convert_released(state, target, dataset)
        config, tensors = foreign_weights(detector, dataset)
        write_model_file(config, tensors, target)
        of_dataset = detector.labels(dataset)[1]
        return f"{detector.title}, {len(config.classes)} classes" + (f" of {of_dataset}" if of_dataset else "")
    except ValueError as error:
        raise ValueError(f"cannot convert {source}: {error}") from error


def _check_target(source: Path, target: Path) -> None:
    if target.suffix != ".safetensors":
        better = target.parent / f"{target.stem or 'model'}.safetensors"
        raise ValueError(f"the output {target} must be a .safetensors file; name it {better}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} for the output; create it first")
    if target.is_dir():
        raise IsADirectoryError(f"the output {target} is a folder; give the path of a file in it")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"the output {target} is the input; choose another name")
