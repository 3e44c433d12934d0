"""A picture that shows where a result differs from the annotation."""

from __future__ import annotations

from PIL import Image

from ...data.objects import PanopticSample
from ..drawing import tiled
from .pictures import draw_segments
from .result import Panoptic


def comparison(sample: PanopticSample, found: Panoptic) -> Image.Image:
    """The annotation beside the prediction, captioned, an RGB image of twice the width."""
    class_of = {each.id: each.class_id for each in sample.segments}
    annotated = draw_segments(found.image, sample.ids, class_of, found.labels)
    return tiled([[("annotation", annotated), ("prediction", found.overlay())]])
