"""The datasets in the names of entries. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..labels import LabelSet
from ..labels.coco import COCO_INSTANCE, COCO_PANOPTIC
from ..labels.own import numbered_labels
from ..labels.scene import ADE20K, PASCAL_CONTEXT
from ..labels.street import (
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_INSTANCE,
    CITYSCAPES_PANOPTIC,
    FACADE_INSTANCE,
    FACADE_PANOPTIC,
    FACADE_SEMANTIC,
)


@dataclass(frozen=True)
class Dataset:
    """Facts about a dataset that need none of its files.

    Attributes:
        title: the name as its authors write it.
        licence: its terms, for the licence chain of a model.
        labels: the classes, for each task that the dataset has annotations for.
        short_side: short side of the network's input, in pixels.
        frame: ``(H, W)`` of a typical image in pixels; a model's cost is counted for it.
    """

    title: str
    licence: str
    labels: dict[str, LabelSet] = field(hash=False)
    short_side: int = 512
    frame: tuple[int, int] = (512, 512)


# Short sides: CamVid's 360 pixels are enlarged to 540, Cityscapes keeps its size, ADE20K is evaluated at 512. PASCAL
# Context is evaluated with a long side of 520, which for its usual 4:3 is a short side of 390. Detectors enlarge COCO
# to a short side of 800; the facades keep their size.
DATASETS: dict[str, Dataset] = {
    "camvid": Dataset(
        "CamVid", "CamVid (Brostow et al., 2008): research use only", {"semantic": CAMVID}, 540, (360, 480)
    ),
    "cityscapes": Dataset(
        "Cityscapes",
        "Cityscapes (Cordts et al., 2016): non-commercial use only",
        {"semantic": CITYSCAPES, "instance": CITYSCAPES_INSTANCE, "panoptic": CITYSCAPES_PANOPTIC},
        1024,
        (1024, 2048),
    ),
    "ade20k": Dataset(
        "ADE20K",
        "ADE20K (Zhou et al., 2017): annotations BSD-3-Clause, photographs for non-commercial research only",
        {"semantic": ADE20K},
    ),
    "pascal_context": Dataset(
        "PASCAL Context",
        "PASCAL Context (Mottaghi et al., 2014): photographs under Flickr's terms, research use",
        {"semantic": PASCAL_CONTEXT},
        390,
        (375, 500),
    ),
    "coco": Dataset(
        "COCO 2017",
        "COCO 2017 (Lin et al., 2014): annotations CC BY 4.0, photographs under Flickr's terms",
        {"instance": COCO_INSTANCE, "panoptic": COCO_PANOPTIC},
        800,
        (480, 640),
    ),
    "facade": Dataset(
        "Building facades",
        "Building facades (a-hwang/building-facade-segmentation): CC BY 4.0",
        {"semantic": FACADE_SEMANTIC, "instance": FACADE_INSTANCE, "panoptic": FACADE_PANOPTIC},
        640,
        (640, 640),
    ),
}
# For a user's own images, and for entries without a dataset.
ANY_DATASET = Dataset("any images", "", {})


def labels_for(dataset: str | None, task: str, num_classes: int) -> LabelSet:
    """The labels of a dataset for a task if they have ``num_classes`` classes, else numbered labels.

    Args:
        dataset: a key of `DATASETS`; None gives numbered labels.
        task: name of the task.
        num_classes: number of classes that the labels must have.
    """
    labels = DATASETS[dataset].labels.get(task) if dataset else None
    return labels if labels and len(labels.classes) == num_classes else numbered_labels(num_classes)
