"""The classes of a dataset and of the model that is evaluated on it. Imports neither torch nor numpy."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..labels import LabelSet
from ..labels.own import numbered_labels
from ..messages import and_more

if TYPE_CHECKING:
    from ..data.samples import ImageData


def in_order_of_model(data: ImageData, labels: LabelSet) -> ImageData:
    """A dataset whose classes are those of a model, with the same ids.

    Classes are found by their names. Those of other names, and those without names, are taken for the model's by their
    ids, with a warning.

    Args:
        data: the dataset.
        labels: those of the model.

    Raises:
        ValueError: the classes of both differ in number, a name has another id in the data although not all names are
            the model's, or a class is a thing in one of them and not in the other.
    """
    own = data.labels
    if own is None:
        _warn_of_ids(labels.classes)
        return data
    if len(own.classes) != len(labels.classes):
        raise ValueError(f"the data has {len(own.classes)} classes, but the model has {len(labels.classes)}")
    order = labels.order_in(own)
    if order is None:
        _check_ids(own, labels)
    elif own.classes != labels.classes:
        data = data.renumbered(order)
    _check_things(data.labels, labels)
    return data


def _warn_of_ids(classes: tuple[str, ...]) -> None:
    if classes != numbered_labels(len(classes)).classes:
        shown = and_more([f"{i} is {name!r}" for i, name in enumerate(classes)], 2)
        warnings.warn(
            f"the data names no classes, so its ids are taken for the model's: {shown}; classes.txt in its folder "
            "names them, one per line",
            stacklevel=4,
        )


def _check_ids(own: LabelSet, labels: LabelSet) -> None:
    """Warn that classes are compared by their ids; raises ValueError if a name shows that the ids are others."""
    theirs, ours = next((a, b) for a, b in zip(own.classes, labels.classes) if a != b)
    if moved := own.moved_from(labels):
        lacking = next((name for name in own.classes if name not in labels.classes), None)
        raise ValueError(
            f"the class {moved!r} has the id {own.classes.index(moved)} in the data and {labels.classes.index(moved)} "
            f"in the model, and {lacking!r} of the data is not in the model; rename the classes of the data to those "
            f"of the model: {and_more([*labels.classes], 12)}"
        )
    warnings.warn(
        f"the classes of data and model differ: {theirs!r} in the data is compared with {ours!r} in the model",
        stacklevel=4,
    )


def _check_things(own: LabelSet, labels: LabelSet) -> None:
    if own.things is None or labels.things is None:
        return
    for name, theirs, ours in zip(own.classes, own.things, labels.things):
        if theirs != ours:
            kinds = {True: "a thing", False: "a kind of surface"}
            raise ValueError(
                f"the class {name!r} is {kinds[theirs]} in the data, but {kinds[ours]} in the model; set 'isthing': "
                f"{int(ours)} in the data, or train a model on it"
            )
