"""A picture that shows where a result differs from the annotation."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...data.objects import PanopticSample
from .pictures import draw_segments
from .result import Panoptic


def comparison(sample: PanopticSample, found: Panoptic) -> Image.Image:
    """The annotation beside the prediction, an RGB image of twice the width."""
    class_of = {each.id: each.class_id for each in sample.segments}
    annotated = draw_segments(found.image, sample.ids, class_of, found.labels)
    return Image.fromarray(np.concatenate([np.asarray(annotated), np.asarray(found.overlay())], axis=1))
