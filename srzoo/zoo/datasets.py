"""The datasets that entries are named after. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..labels import LabelSet
from ..labels.own import numbered_labels
from ..labels.scene import ADE20K, PASCAL_CONTEXT
from ..labels.street import CAMVID, CITYSCAPES


@dataclass(frozen=True)
class Dataset:
    """What the zoo knows of a dataset without its files.

    Attributes:
        title: as its authors write it.
        licence: its terms, for the licence chain.
        labels: the classes for each task that it is annotated for.
        short_side: in pixels, as a network sees its images.
        frame: ``(H, W)`` of a usual image, at which a model's cost is counted.
    """

    title: str
    licence: str
    labels: dict[str, LabelSet] = field(hash=False)
    short_side: int = 512
    frame: tuple[int, int] = (512, 512)


# CamVid's 360 pixels are enlarged, Cityscapes is seen at its own size; ADE20K is evaluated at 512, PASCAL Context with
# 520 on the long side, which at its usual 4:3 is 390 on the short one.
DATASETS: dict[str, Dataset] = {
    "camvid": Dataset(
        "CamVid", "CamVid (Brostow et al., 2008): research use only", {"semantic": CAMVID}, 540, (360, 480)
    ),
    "cityscapes": Dataset(
        "Cityscapes",
        "Cityscapes (Cordts et al., 2016): non-commercial use only",
        {"semantic": CITYSCAPES},
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
}
# A user's own images, or an entry without a dataset.
ANY_DATASET = Dataset("any images", "", {})


def labels_for(dataset: str | None, task: str, num_classes: int) -> LabelSet:
    """The dataset's labels for a task where they have so many classes, else numbered ones."""
    labels = DATASETS[dataset].labels.get(task) if dataset else None
    return labels if labels and len(labels.classes) == num_classes else numbered_labels(num_classes)
