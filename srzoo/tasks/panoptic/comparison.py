"""A picture that shows where a result differs from the annotation."""

from __future__ import annotations

import dataclasses

from PIL import Image

from ...data.objects import PanopticSample
from ..drawing import tiled
from .pictures import draw_segments
from .result import Panoptic


def comparison(sample: PanopticSample, found: Panoptic) -> Image.Image:
    """The annotation beside the prediction, captioned and with a legend, an RGB image of twice the width."""
    class_of = {each.id: each.class_id for each in sample.segments}
    labels = dataclasses.replace(found.labels, palette=found.colours)  # those of the overlay
    annotated = draw_segments(found.image, sample.ids, class_of, labels)
    seen = sorted({*class_of.values(), *(each.class_id for each in found.segments)})
    entries = [(found.classes[i], found.colours[i]) for i in seen]
    return tiled([[("annotation", annotated), ("prediction", found.overlay())]], entries)
