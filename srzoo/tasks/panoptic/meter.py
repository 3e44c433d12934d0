"""The figures of panoptic segmentation: PQ, SQ and RQ over all classes, things and stuff."""

from __future__ import annotations

import numpy as np

from ...data.objects import PanopticSample
from ...labels import LabelSet
from ..task import Score
from .quality import PanopticQuality
from .result import Panoptic

_FIGURES = ("PQ", "SQ", "RQ")


class PanopticMeter:
    """The meter of panoptic segmentation, see `srzoo.tasks.task.Meter`.

    Args:
        labels: classes, with things.
    """

    def __init__(self, labels: LabelSet):
        self.labels = labels
        self.quality = PanopticQuality(len(labels.classes))

    def update(self, result: Panoptic, sample: PanopticSample) -> float | None:
        """Add one image, and return its own PQ; None if nothing in it is annotated."""
        own = PanopticQuality(len(self.labels.classes))
        own.update(result.ids, {each.id: each.class_id for each in result.segments}, sample.ids, sample.segments)
        self.quality.merge(own)
        if not any(not each.crowd for each in sample.segments):
            return None
        return _mean(own.by_class()[0])

    def merge(self, other: PanopticMeter) -> None:
        self.quality.merge(other.quality)

    def score(self) -> Score | None:
        quality, classes = self.quality, self.labels.classes
        if not (quality.matched + quality.missed).any():
            return None
        columns = dict(zip(_FIGURES, quality.by_class()))
        things = np.array(self.labels.things)
        figures = {
            f"{name}{of}": _mean(values[chosen])
            for of, chosen in (("", slice(None)), (" things", things), (" stuff", ~things))
            for name, values in columns.items()
            if not np.isnan(values[chosen]).all()
        }
        by_class = {
            name: {label: None if np.isnan(value) else float(value) for label, value in zip(classes, values)}
            for name, values in columns.items()
        }
        counts = {"matched": quality.matched, "wrong": quality.wrong, "missed": quality.missed}
        return Score("PQ", figures, by_class, {name: int(count.sum()) for name, count in counts.items()})


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else 0.0
