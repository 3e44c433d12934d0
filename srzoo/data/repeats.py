"""Repeat-factor sampling: images of rare classes are seen more often (Gupta et al., LVIS, CVPR 2019, section 5.1)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .samples import ImageData


def repeat_factors(data: ImageData, threshold: float) -> list[float]:
    """How often each image is seen in relation to the others: ``max(1, sqrt(threshold / f))`` of its rarest class.

    ``f`` is the share of the images in which a class is.

    Args:
        data: a split for any task. All of its annotations are read.
        threshold: share of the images below which a class is rare.

    Raises:
        ValueError: an annotation cannot be read.
    """
    return factors_of(data.classes_by_image, threshold)


def factors_of(classes: Sequence[set[int]], threshold: float) -> list[float]:
    """As `repeat_factors`, for the classes of each image."""
    counts = Counter(each for image in classes for each in image)
    factors = {each: math.sqrt(max(1.0, threshold * len(classes) / count)) for each, count in counts.items()}
    return [max((factors[each] for each in image), default=1.0) for image in classes]
