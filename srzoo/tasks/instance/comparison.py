"""A picture that shows where a result differs from the annotation."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...data.objects import Objects
from ..drawing import tiled
from .pictures import fill, outline_width, shaded
from .result import Instances


def comparison(objects: Objects, found: Instances) -> Image.Image:
    """The annotation beside the prediction, captioned and with a legend, an RGB image of twice the width."""
    annotated = np.array(found.image)
    for i, label in enumerate(objects.classes):
        mask = objects.decode([i])[0].astype(bool)
        fill(annotated, mask, shaded(found.colours[label], i), 0.5, outline_width(found.image))
    seen = sorted({*map(int, objects.classes), *map(int, found.labels)})
    entries = [(found.classes[i], found.colours[i]) for i in seen]
    return tiled([[("annotation", Image.fromarray(annotated)), ("prediction", found.overlay())]], entries)
