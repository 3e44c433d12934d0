"""What the names of files and folders say: whether images or masks lie there, and of which split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from .files import SPLIT_NAMES


def _set(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


IMAGE_WORDS = _set(
    "image images img imgs jpegimages jpgimages pngimages leftimg8bit photo photos picture pictures pic pics rgb "
    "original originals orig input inputs frame frames raw sat bilder bild imagenes"
)
MASK_WORDS = _set(
    "mask masks label labels lbl annotation annotations annot annots ann anns gt gts groundtruth truth ground seg segs "
    "segmentation segmentations segmentationclass segmentationclasspng segmentationclassraw segmap target targets "
    "trimap trimaps gtfine labelids labeltrainids manual matte mattes alpha alphas cls semantic semantics parsing "
    "stuffthingmaps masken maske masques masque mascaras etiquetas"
)
_MASK_ENDINGS, _IMAGE_ENDINGS = ("masks", "mask", "labels"), ("images", "imgs")  # of words: pedmasks
_OBJECT_WORDS = _set("segmentationobject segmentationobjectpng instance instances instanceids inst objects")
_PICTURE_WORDS = _set(  # of masks drawn for people
    "color colour colored coloured colormap colormaps overlay overlays vis visual visualization visualizations "
    "segmentationclassvisualization human preview previews boundary boundaries edge edges blend viz labelcolor rgb"
)
_PICTURES_ALONE = _set("segmentationclassvisualization colormap colormaps overlay overlays labelcolor")
_OTHER_WORDS = _set("panoptic depth disparity normals")
_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_SHORT = {**_SPLITS, "tr": "train", "te": "test", "ts": "test"}  # in the name of a folder that says a role
_OF_SPLIT = re.compile(rf"(?:\w[.)]\s*)?({'|'.join(_SPLITS)})(?:[ _-]?(?:set|data|dataset|split|20\d\d))*")


class Entry(NamedTuple):
    """A file, or a folder's place: what its path says.

    Attributes:
        role: "image", "mask", "objects", "picture" (a mask drawn for people), "other" or "".
        kind: the part of the path that says so, in lower case.
        split: "train", "val", "test" or None.
        rest: the path without the parts that say role and split.
        left: that of it which is a word in the folder that says the role: anon of rgb_anon.
    """

    role: str
    kind: str
    split: str | None
    rest: tuple[str, ...]
    left: tuple[str, ...] = ()


def words(name: str) -> list[str]:
    """The words of a name, in lower case: runs of letters, and numbers. Capitals do not part words."""
    return re.findall(r"[a-z]+\d*[a-z]+|[a-z]+|\d+", name.lower())


def split_of(name: str) -> str | None:
    """The split that a name of a folder or file is of: train, Train_Set, TrainDataset, train2017, a. Training Set."""
    found = _OF_SPLIT.fullmatch(name.lower())
    return _SPLITS[found[1]] if found else None


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """The splits of folders whose names differ in the word for it alone, as those of uavid_train and uavid_val do."""
    found: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in set(names):
        said = words(name)
        at = [i for i, word in enumerate(said) if word in _SPLITS]
        if len(at) == 1 and len(said) > 1:
            found[tuple(word for i, word in enumerate(said) if i != at[0])][name] = _SPLITS[said[at[0]]]
    return {name: split for each in found.values() if len({*each.values()}) > 1 for name, split in each.items()}


def place_of(parts: Sequence[str], splits: Mapping[str, str] = MappingProxyType({})) -> Entry:
    """What the path of a folder says; ``splits`` has those of names that tell no role, as `splits_among` finds them."""
    place = Entry("", "", None, ())
    for part in reversed(parts):
        said = _meaning(part)
        if part in splits and not (said.role or said.split):
            said = Entry("", "", splits[part], ())
        if (said.role and place.role) or (said.split and place.split) or not (said.role or said.split):
            said = Entry("", "", None, (part,))
        place = Entry(
            place.role or said.role,
            place.kind or said.kind,
            place.split or said.split,
            (*said.rest, *place.rest),
            place.left or said.left,
        )
    return place


def _meaning(part: str) -> Entry:
    """What the name of a folder says; the rest are its other words, if it says a role."""
    if split := split_of(part):
        return Entry("", "", split, ())
    said = words(part)
    joined = re.match(r"(training|train|validation|valid|val|testing|test)([a-z]+)$", part.lower())
    if joined and {joined[2]} & (IMAGE_WORDS | MASK_WORDS):
        said = [joined[1], joined[2]]
    if joined := re.match(r"(images|labels)(tr|ts)$", part.lower()):  # nnU-Net's
        said = [joined[1], joined[2]]
    role = role_of(said)
    if not role:
        return Entry("", "", None, ())
    split = next((_SHORT[word] for word in said if word in _SHORT), None)
    others = [word for word in said if not (split and word in _SHORT)]
    known = _OBJECT_WORDS | _PICTURE_WORDS | MASK_WORDS | IMAGE_WORDS
    left = "_".join(word for word in others if word not in known)
    left = (left,) if left else ()
    return Entry(role, " ".join(others), split, left, left)


def role_of(said: Iterable[str]) -> str:
    """The role that words say, see `Entry`."""
    said = set(said)
    if said & _OTHER_WORDS:
        return "other"
    if said & _OBJECT_WORDS:
        return "objects"
    is_mask = said & MASK_WORDS or any(word.endswith(_MASK_ENDINGS) for word in said)
    if said & _PICTURE_WORDS and (is_mask or said & _PICTURES_ALONE):
        return "picture"
    if is_mask:
        return "mask"
    return "image" if said & IMAGE_WORDS or any(word.endswith(_IMAGE_ENDINGS) for word in said) else ""
