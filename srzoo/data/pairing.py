"""Which files of a folder are images, which are their masks, and of which split, told by the names people use.

A name says its role by words: ``images/``, ``imgs``, ``JPEGImages``, ``x_mask.png``, ``train_labels``. What is left of
a file's path without the words of roles and splits is its key, and an image and a mask of one key belong together. Keys
are compared as they are, then without regard to case and to zeros before numbers, then without one prefix or suffix
that all masks have, or all images, and last without their folders.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from ..files import composed
from ..images import SUFFIXES
from .files import natural
from .masks import ARRAYS
from .roles import IMAGE_WORDS, MASK_WORDS, Entry, place_of, role_of, splits_among, words
from .variants import Places, are_classes, class_name, variants_of

MASK_SUFFIXES = SUFFIXES | set(ARRAYS)

_MANY = 1000  # files
_SHOWN = 200  # files of which an affix is looked for
_SEPARATORS = " _-.()"
_SEVERAL = 1.2  # masks for an image, from which on masks are of several kinds


@dataclass
class Pairs:
    """The pairs found in a folder.

    Attributes:
        by_split: paths of an image and its mask, by split; None for those of no split.
        alone: images and masks without a partner, by split.
        more: further masks of images that have several, such as one for each object, or for each class.
        class_of: name of the class of each mask, if each has one class, in black and white.
        spare: pictures beside the images that belong to an image, and have no mask of their own.
        images, masks: where they lie, in words.
        others: where other masks lie that could as well be meant, in words.
    """

    by_split: dict[str | None, list[tuple[Path, Path]]] = field(default_factory=lambda: defaultdict(list))
    alone: dict[str | None, tuple[list[Path], list[Path]]] = field(
        default_factory=lambda: defaultdict(lambda: ([], []))
    )
    more: dict[Path, list[Path]] = field(default_factory=dict)
    class_of: dict[Path, str] = field(default_factory=dict)
    spare: list[Path] = field(default_factory=list)
    images: str = ""
    masks: str = ""
    others: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.by_split.values()))

    @cached_property
    def owners(self) -> set[tuple[Path, str]]:
        """Folder and name of each image, the name without an ending of letters that all of them have."""
        images = [image for each in self.by_split.values() for image, _ in each]
        suffix = (
            re.search(r"(?:[ _\-.]+[A-Za-z]+)?$", _common([image.stem for image in images])[1])[0] if images else ""
        )
        return {(image.parent, image.stem.removesuffix(suffix)) for image in images}


def find_pairs(root: Path, role: str = "mask") -> Pairs:
    """The images of a folder, and their masks.

    Args:
        root: the folder, which is searched with all of its folders.
        role: "mask" for masks of classes, "objects" for masks of object ids.
    """
    images, masks = defaultdict(list), defaultdict(list)
    folders = [*_folders(root)]
    splits = splits_among(part for parts, _ in folders for part in parts)
    homes = {parts[:-1] for parts, _ in folders if parts and role_of(words(parts[-1])) == "mask"}
    for parts, paths in folders:
        place = place_of(parts, splits)
        if place.role == "image" and (outer := _mask_place(parts, splits, homes)):
            place = outer
        rank = 1 if place.role == "picture" else 0
        wanted = place.role in (role, "picture") or (role == "objects" and place.role == "mask")
        if wanted:
            masks[rank + (place.role != role), place.kind].append((place, paths))
        if place.role in ("image", ""):
            images[place.kind].append((place, _images(paths)))
        if place.role in ("image", "", role):
            for own_rank, kind, own_images, own_masks in _within(place, paths):
                images[kind].append((place, own_images))
                masks[own_rank + (place.role == role), kind].append((place, own_masks))
    best: tuple = (0, 0, Pairs())
    for (image_kind, image_places), ((rank, mask_kind), mask_places) in product(images.items(), masks.items()):
        if (image_kind.startswith("*") or mask_kind.startswith("*")) and image_kind != mask_kind:
            continue
        pairs = _chosen(root, image_places, mask_places)
        if (len(pairs), -rank) > best[:2]:
            best = len(pairs), -rank, pairs
        elif pairs and (len(pairs), -rank) == best[:2] and pairs.images == best[2].images:
            best[2].others.append(pairs.masks)
    return best[2]


def pair_files(images: Sequence[Path], masks: Sequence[Path], root: Path) -> Pairs:
    """`find_pairs` of files whose roles are known; their folders may say the split."""
    splits = splits_among(part for path in (*images, *masks) for part in path.relative_to(root).parts[:-1])
    places = [defaultdict(list), defaultdict(list)]
    for found, paths in zip(places, (images, masks)):
        for path in paths:
            found[path.parent].append(path)
    return _chosen(
        root,
        *(
            [(place_of(folder.relative_to(root).parts, splits), paths) for folder, paths in found.items()]
            for found in places
        ),
    )


def _mask_place(parts: tuple[str, ...], splits: Mapping[str, str], homes: Container[tuple[str, ...]]) -> Entry | None:
    """The place of a folder of masks that is called images/, in one for masks: Semantic_masks/images/.

    A folder of ``homes`` has the masks of its images in a folder of their own: face_mask/images/, face_mask/masks/.
    """
    outer = list(parts)
    while outer and role_of(words(outer[-1])) == "image":
        outer.pop()
    if tuple(outer) in homes:
        return None
    place = place_of(outer, splits)
    is_of_masks = place.role in ("mask", "objects", "picture") and re.search(r"mask|label", place.kind)
    return place._replace(rest=(*place.rest, *parts[len(outer) :])) if is_of_masks and len(outer) < len(parts) else None


def _images(paths: list[Path]) -> list[Path]:
    """The image files of a folder; where there are none, its arrays."""
    return [path for path in paths if path.suffix.lower() in SUFFIXES] or [
        path for path in paths if path.suffix.lower() == ".npy"
    ]


def _chosen(root: Path, images: Places, masks: Places) -> Pairs:
    """The pairs, where images may have several masks: those of each class, or the best of several versions."""
    found = _paired(root, images, masks)
    if found.more or len(found) == sum(len(paths) for _, paths in masks):
        return found
    for named in variants_of(images, masks):
        pairs = {name: each for name, places in named.items() if (each := _paired(root, images, places))}
        paired = [{image for own in each.by_split.values() for image, _ in own} for each in pairs.values()]
        if len(pairs) < 2 or sum(map(len, paired)) < _SEVERAL * len(set().union(*paired)):
            continue  # parts of one set of masks
        if are_classes({name: named[name] for name in pairs}):
            return _joint(pairs)
        best = max(pairs.values(), key=len)  # the first of equal ones
        if len(best) >= len(found):
            best.others += [each.masks for each in pairs.values() if each is not best]
            return best
    return found


def _joint(pairs: Mapping[str, Pairs]) -> Pairs:
    """The pairs of several classes as one: images with a mask of each class that they have."""
    masks: dict[Path, list[Path]] = defaultdict(list)
    joint = Pairs(images=next(iter(pairs.values())).images, masks=", ".join(each.masks for each in pairs.values()))
    split_of: dict[Path, str | None] = {}
    for name in sorted(pairs, key=natural):
        for split, each in pairs[name].by_split.items():
            for image, mask in each:
                masks[image].append(mask)
                split_of[image] = split
                joint.class_of[mask] = class_name(name)
    for image in sorted(masks):
        first, *joint.more[image] = masks[image]
        joint.by_split[split_of[image]].append((image, first))
    for each in pairs.values():
        for split, (images, lonely) in each.alone.items():
            own = joint.alone[split]
            own[0].extend(path for path in images if path not in masks and path not in own[0])
            own[1].extend(lonely)
    return joint


def _folders(root: Path) -> Iterator[tuple[tuple[str, ...], list[Path]]]:
    """Each folder with images, as the parts of its path below the root, and those images."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        paths = [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
        paths = [path for path in paths if path.suffix.lower() in MASK_SUFFIXES]
        if paths:
            yield Path(folder).relative_to(root).parts, paths


def _within(place: Entry, paths: list[Path]) -> Iterator[tuple[int, str, list[Path], list[Path]]]:
    """Images and masks that lie in one folder, told apart by a word in their names or by their encoding.

    Yields:
        The rank of the masks, a name for the way they were told apart, and both.
    """
    by_ending = defaultdict(list)
    for path in paths:
        for ending in (*_endings(path.stem), *_endings(re.sub(r"[_-]\d+$", "", path.stem))):  # x_mask_1: a further mask
            role = role_of([ending.strip(_SEPARATORS).lower()]) or ("mask" if ending in ("_L", "_m", "_M") else "")
            if role in ("mask", "picture", "objects"):
                by_ending[ending.lower()].append(path)
                break
    for ending, masks in by_ending.items():
        marked = {path for others in by_ending.values() for path in others}
        images = [path for path in paths if path not in marked]
        if images:
            rank = {"picture": 2, "objects": 1}.get(role_of([ending.strip(_SEPARATORS)]), -("semantic" in ending))
            yield rank, f"*{place.kind} {ending}", images, masks
    by_stem = defaultdict(list)
    for path in paths:
        by_stem[path.stem].append(path)
    twins = [each for each in by_stem.values() if len(each) == 2]
    told = [sorted(each, key=_is_lossless) for each in twins if _is_lossless(each[0]) != _is_lossless(each[1])]
    if 4 * len(told) > len(paths):
        yield 0, f"*{place.kind} twins", [each[0] for each in told], [each[1] for each in told]


def _is_lossless(path: Path) -> bool:
    return path.suffix.lower() not in (".jpg", ".jpeg", ".webp")


def _endings(stem: str) -> Iterator[str]:
    """A name's last words and its first word, with their separators: "_mask" of x_mask; and a name of one word."""
    if role_of(words(stem)) and re.fullmatch(r"[A-Za-z]+", stem):
        yield stem
    for match in (
        re.search(r"[ _\-.]+[A-Za-z]+\d*[A-Za-z]+$", stem),
        re.search(r"[ _\-.]+[A-Za-z]+$", stem),
        re.match(r"[A-Za-z]+[ _\-.]+", stem),
        re.match(r"[A-Za-z]+(?=\d)", stem),
    ):
        if match and match[0] != stem:
            yield match[0]


def _paired(root: Path, image_places: Places, mask_places: Places) -> Pairs:
    """The pairs by the first way to compare keys that finds most of them."""
    images, masks = (
        [(place, path) for place, paths in places for path in paths] for places in (image_places, mask_places)
    )
    if several := _several(root, image_places, mask_places):
        return several
    best: list[tuple[int, int]] = []
    fewest = min(len(images), len(masks))
    enough = fewest if fewest < _MANY else 0.95 * fewest  # comparing many names in every way takes long
    has_left = any(place.left for place, _ in (*images, *masks))
    folders = (_all_folders, *([_other_folders] if has_left else []), _no_folders)
    for folders_of, with_split in product(folders, (True, False)):
        for name_of in _ways(images, masks):
            keys = [
                [(place.split if with_split else None, folders_of(place), way(path.stem)) for place, path in files]
                for files, way in zip((images, masks), name_of)
            ]
            found = _joined(*keys)
            if len(found) > len(best):
                best = found
            if len(best) >= enough:
                break
        if len(best) >= enough:
            break
    return _result(root, images, masks, best)


def _all_folders(place: Entry) -> tuple[str, ...]:
    return place.rest


def _other_folders(place: Entry) -> tuple[str, ...]:
    return tuple(part for part in place.rest if part not in place.left)


def _no_folders(place: Entry) -> tuple[str, ...]:
    return ()


def _several(root: Path, image_places: Places, mask_places: Places) -> Pairs | None:
    """The pairs of folders with one image each and several masks, one for each object; None if it is not so."""
    masks = {(place.split, place.rest): paths for place, paths in mask_places if paths}
    images = [(place, paths) for place, paths in image_places if paths and (place.split, place.rest) in masks]
    if len(images) < 2 or any(len(paths) > 1 for _, paths in images) or len(masks) < len(images):
        return None
    if all(len(masks[place.split, place.rest]) == 1 for place, _ in images):
        return None
    pairs = Pairs(images=f"{len(images)} folders", masks=f"{len(images)} folders")
    for place, (image,) in images:
        first, *others = masks[place.split, place.rest]
        pairs.by_split[place.split].append((image, first))
        pairs.more[image] = others
    return pairs


def _joined(images: list, masks: list) -> list[tuple[int, int]]:
    """Indices of the images and masks of one key; keys that several files have are left out."""
    counts = [Counter(images), Counter(masks)]
    places = {key: j for j, key in enumerate(masks) if counts[1][key] == 1}
    return [(i, places[key]) for i, key in enumerate(images) if counts[0][key] == 1 and key in places]


def _ways(images: list, masks: list) -> Iterator[tuple[Callable[[str], str], Callable[[str], str]]]:
    """Functions of the names of images and of masks that may make them equal."""
    yield str, str
    yield composed, composed
    yield _plain, _plain
    stems = [[path.stem for _, path in files] for files in (images, masks)]
    plain = [[_plain(stem) for stem in each] for each in stems]
    for prefix, suffix in _affixes(*plain):  # of the masks
        yield _plain, _without(prefix, suffix)
    for prefix, suffix in _affixes(*reversed(plain)):  # of the images
        yield _without(prefix, suffix), _plain
    own = [_common(each) for each in plain]
    yield _without(*own[0]), _without(*own[1])
    yield _bare, _bare
    yield _number, _number


def _plain(stem: str) -> str:
    """A name without regard to case and to zeros before its numbers."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", composed(stem).lower())


def _bare(stem: str) -> str:
    """A name without the words of roles."""
    known = IMAGE_WORDS | MASK_WORDS
    return " ".join(word for word in re.findall(r"[a-z]+|\d+", _plain(stem)) if word not in known)


def _number(stem: str) -> str:
    """The first number of a name: 21 of 21_training and of 21_manual1."""
    found = re.search(r"\d+", _plain(stem))
    return found[0] if found else f"\0{stem}"


def _without(prefix: str, suffix: str) -> Callable[[str], str]:
    def way(stem: str) -> str:
        name = _plain(stem)
        if not name.startswith(prefix) or not name.endswith(suffix):
            return f"\0{name}"  # equal to no other
        return name[len(prefix) : len(name) - len(suffix)]

    return way


def _affixes(names: list[str], longer: list[str]) -> list[tuple[str, str]]:
    """The prefix and suffix that names have more than others, most frequent first."""
    known, found = set(names), Counter()
    for name in longer[:: max(1, len(longer) // _SHOWN)]:
        spans = ((i, j) for i in range(len(name)) for j in range(i + 1, len(name) + 1))
        found.update((name[:i], name[j:]) for i, j in spans if (i, j) != (0, len(name)) and name[i:j] in known)
    return [affix for affix, _ in found.most_common(5)]


def _common(names: list[str]) -> tuple[str, str]:
    """The prefix and suffix of all names, up to the first and from the last number."""
    prefix, suffix = _same(names).rstrip("0123456789"), _same([name[::-1] for name in names])[::-1].lstrip("0123456789")
    return (prefix, suffix) if all(len(prefix) + len(suffix) <= len(name) for name in names) else ("", "")


def _same(names: list[str]) -> str:
    """What all names begin with."""
    low, high = min(names), max(names)
    return low[: next((i for i, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))]


def _result(root: Path, images: list, masks: list, joined: list[tuple[int, int]]) -> Pairs:
    pairs = Pairs(
        images=_where(root, images, [i for i, _ in joined]), masks=_where(root, masks, [j for _, j in joined])
    )
    for i, j in joined:
        pairs.by_split[images[i][0].split or masks[j][0].split].append((images[i][1], masks[j][1]))
    for which, files in enumerate((images, masks)):
        indices = {joint[which] for joint in joined}
        paired = {files[i][1].parent for i in indices}
        owners = {mask.with_suffix(""): image for each in pairs.by_split.values() for image, mask in each}
        for i, (place, path) in enumerate(files):
            if i in indices or path.parent not in paired:
                continue
            if not which and _is_spare(path, pairs):
                pairs.spare.append(path)
                continue
            first = re.match(r"(.+)[_\-]\d+$", path.stem)
            if which and first and (owner := owners.get(path.with_name(first[1]))):
                pairs.more.setdefault(owner, []).append(path)
            else:
                pairs.alone[place.split][which].append(path)
    return pairs


def _is_spare(path: Path, pairs: Pairs) -> bool:
    """Whether a picture's name extends that of an image with a mask, as plant1_fg.png does that of plant1_rgb.png."""
    parts = re.split(r"(?<=[^\W_])(?=[ _\-.]+)", path.stem)
    owners = pairs.owners
    return any((path.parent, "".join(parts[:i])) in owners for i in range(1, len(parts)))


def _where(root: Path, files: list, indices: list[int]) -> str:
    """The folders of files in words, with what all names have in common."""
    folders = sorted({str(files[i][1].parent.relative_to(root)) for i in indices})
    endings = sorted({files[i][1].suffix for i in indices})
    prefix, suffix = _common([files[i][1].stem for i in indices]) if len(indices) > 1 else ("", "")
    shown = ", ".join(f"{folder}/{prefix}*{suffix}{'|'.join(endings)}" for folder in folders[:3])
    return shown + (", ..." if len(folders) > 3 else "")
