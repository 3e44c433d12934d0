"""Label sets of a user's own classes."""

import dataclasses
from collections.abc import Sequence

from ..registry import default_labels
from .labels import LabelSet
from .masks import MAX_CLASSES


def own_labels(names: Sequence[str], origin: str) -> LabelSet:
    """These classes in evenly spread colours.

    Args:
        names: in order of id.
        origin: of the names, for the error.

    Raises:
        ValueError: a name is twice in it, or there are fewer than 2 classes or more than 254.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{origin}: the class {twice!r} is named twice")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"{origin}: {len(names)} classes, expected 2 to {MAX_CLASSES}")
    return dataclasses.replace(default_labels(None, len(names)), classes=tuple(names))
