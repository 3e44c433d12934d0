"""Which images of a dataset without a split for validation are held out: whole groups, or the end of a sequence."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import NamedTuple

from .files import name_bytes, natural

SHARE = 0.2  # of the images are held out, unless told otherwise
FIFTH = "fifth"  # the rule of version 0.1: every fifth file

_COUNTER = re.compile(r"[\W_]*\d+\D*$")  # the last number of a name, and what follows it
_COPY = re.compile(r"\.rf\.[0-9a-f]{8,}$")  # Roboflow's copies of one picture differ in this alone
_FEWEST = 3  # groups: with fewer of them, one is too large a part to hold out


class HeldOut(NamedTuple):
    """Indices of the images for validation, in order, and how they were chosen, in words."""

    indices: list[int]
    how: str


def hold_out(names: Sequence[str], rule: float | str | None = None) -> HeldOut:
    """Choose images for validation that are unlike those to train on.

    Neighbouring frames of a video, or crops of one picture, show the same, so a figure on every fifth of them is too
    high. Whole groups are held out instead: folders, or else names that are equal up to their last number; where most
    images are of one group, they are taken for a sequence, whose end is held out.

    Args:
        names: path of each image.
        rule: the share of images, above 0 and below 1; or "fifth" for every fifth file, from the first on.

    Raises:
        ValueError: the rule is neither, or there is only one image.
    """
    share = SHARE if rule is None else rule
    if rule != FIFTH and (isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1):
        raise ValueError(f"holdout={rule!r}: expected a share above 0 and below 1, or {FIFTH!r}")
    if len(names) < 2:
        raise ValueError(f"{len(names)} image, but train and val need at least one each")
    if rule == FIFTH:
        return HeldOut([*range(0, len(names), 5)], "every fifth file")
    paths = [PurePath(name) for name in names]
    wanted = min(len(names) - 1, max(1, round(len(names) * share)))
    for kind, group_of in (("folders", lambda path: str(path.parent)), ("names", _prefix)):
        groups = _groups(paths, group_of)
        if len(groups) >= _FEWEST and 2 * max(map(len, groups.values())) <= len(names):
            chosen = _chosen(groups, wanted)
            shown = ", ".join(sorted(_unlike(name, groups) for name in chosen)[:3])
            more = ", ..." if len(chosen) > 3 else ""
            return HeldOut(sorted(i for name in chosen for i in groups[name]), f"by {kind} ({shown}{more})")
    order = sorted(range(len(paths)), key=lambda i: (natural(_picture(paths[i])), names[i]))
    cut = len(order) - wanted
    while cut > 1 and _picture(paths[order[cut]]) == _picture(paths[order[cut - 1]]):
        cut -= 1  # copies of one picture stay together
    return HeldOut(sorted(order[cut:]), f"the last by name, from {paths[order[cut]].name} on")


def _groups(paths: Sequence[PurePath], group_of: Callable[[PurePath], str]) -> dict[str, list[int]]:
    groups = defaultdict(list)
    for i, path in enumerate(paths):
        groups[group_of(path)].append(i)
    return groups


def _chosen(groups: dict[str, list[int]], wanted: int) -> list[str]:
    """Names of groups whose images add up to about ``wanted``, in an order that depends on their names alone."""
    count, chosen = 0, []
    for name in sorted(groups, key=lambda name: hashlib.sha256(name_bytes(PurePath(name).name)).digest()):
        if abs(count + len(groups[name]) - wanted) < abs(count - wanted):
            chosen.append(name)
            count += len(groups[name])
    return chosen or [min(groups, key=lambda name: (len(groups[name]), name))]


def _unlike(name: str, names: Iterable[str]) -> str:
    """The last part of a path, from that on in which it differs from others: a/images for a/images and b/images."""
    depth = 1
    while len({PurePath(each).parts[-depth:] for each in names}) < 2:
        depth += 1
    return PurePath(*PurePath(name).parts[-depth:]).as_posix()


def _picture(path: PurePath) -> str:
    return _COPY.sub("", path.stem)


def _prefix(path: PurePath) -> str:
    return _COUNTER.sub("", _picture(path))
