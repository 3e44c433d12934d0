"""A table that names the files of each image and of its mask, whatever they are called.

It is a CSV file or lines of JSON with a column for each, a JSON file with lists of such records, as of MONAI, or a text
file with both paths on a line. Columns may name the split, and the class of masks in black and white.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from ...images import SUFFIXES
from ...messages import and_more, one_line, shortened
from ..pairing import MASK_SUFFIXES, Pairs
from ..roles import role_of, split_of, words
from ..samples import FilePairs
from .drawn import ImageIndex, files_named, read_json, split_in
from .folder import Folder

_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".txt")
_TRIED = 16  # files of each ending that are looked at
_LARGEST = 1 << 27  # bytes of a table
_PEEKED = 16  # rows that are looked at
_FOUND = 0.5  # share of those whose files exist, from which on a file is a table of pairs
_SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold")
_CLASS_COLUMNS = ("class", "label", "category", "labelname", "label_name", "class_name", "category_name")
_IMAGE_IDS = ("imageid", "image_id", "image", "id", "img_id")
_SUFFIX = "|".join(sorted(re.escape(suffix) for suffix in MASK_SUFFIXES))
_TWO_PATHS = re.compile(rf"(?i)(?P<image>.+?(?:{_SUFFIX}))[\s,;]+(?P<mask>.+(?:{_SUFFIX}))(?:[\s,;].*)?$")


class Row(NamedTuple):
    """A row of a table: the files of an image and its mask as the table has them, the class of the mask, the split."""

    image: str
    mask: str
    label: str | None = None
    split: str | None = None


class Listed(Folder):
    name = "listed"
    layout = (
        "a table of pairs: a CSV file with the columns image and mask, and maybe split, or train.txt and val.txt with "
        "the paths of an image and its mask on each line"
    )
    tasks = ("semantic",)

    def matches(self, root: Path) -> bool:
        return bool(_tables(root))

    def read(self, root: Path, split: str, task: str = "semantic") -> FilePairs:
        found, problems = _pairs(root)
        data = self._data(found, root, split, task, may_have_lists=False)
        data.format = self.name
        data.unpaired = [*problems, *data.unpaired]
        return data


def _tables(root: Path) -> list[Path]:
    """The tables of pairs in a folder; of several that name the same images, the first."""
    index, found = None, []
    for ending in _ENDINGS:
        for path in islice(files_named(root, ending), _TRIED):
            rows = _first_rows(path)
            if not rows or (ending == ".txt" and all(_stem(row.image) == _stem(row.mask) for row in rows)):
                continue  # such lists are those of a plain folder, too
            index = index or ImageIndex(root, MASK_SUFFIXES)
            files = [(_file(row.image, path, index), _file(row.mask, path, index)) for row in rows]
            exist = [(image, mask) for image, mask in files if image and mask]
            if len(exist) >= _FOUND * len(rows) and any(image != mask for image, mask in exist):
                found.append(path)
        if found:
            return found
    return []


def _stem(name: str) -> str:
    return PureWindowsPath(name).stem.lower()  # accepts either slash


def _first_rows(path: Path) -> list[Row]:
    try:
        return [row for row in islice(_rows(path), _PEEKED) if isinstance(row, Row)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error):
        return []  # another file


def _pairs(root: Path) -> tuple[Pairs, list[str]]:
    """The pairs of all tables, and a line for each row whose files do not exist."""
    tables, index = _tables(root), ImageIndex(root, MASK_SUFFIXES)
    pairs, problems = Pairs(masks=and_more([path.name for path in tables], 3)), []
    masks: dict[Path, list[Path]] = defaultdict(list)
    split_of_image: dict[Path, str | None] = {}
    for path in tables:
        names = _class_names(path)
        own = split_of(path.stem) or split_in(path, root)
        number = 0
        try:
            for number, row in enumerate(_rows(path), 1):
                if isinstance(row, str):
                    problems.append(f"{path}: row {number}: {row}")
                    continue
                image, mask = _file(row.image, path, index), _file(row.mask, path, index)
                if image is None or mask is None:
                    problems.append(f"{path}: row {number}: no file {shortened(row.mask if image else row.image)}")
                    continue
                if image == mask:
                    problems.append(f"{path}: row {number}: {shortened(row.image)} is image and mask")
                    continue
                masks[image].append(mask)
                split_of_image[image] = row.split or own or split_of_image.get(image)
                if row.label:
                    pairs.class_of[mask] = names.get(row.label, row.label)
        except (ValueError, TypeError, AttributeError, csv.Error) as error:  # the first rows can be read
            problems.append(f"{path}: row {number + 1} and what follows cannot be read ({one_line(error)})")
    count = sum(len({*each}) for each in masks.values())
    if pairs.class_of and len(pairs.class_of) < count and any(len({*each}) > 1 for each in masks.values()):
        problems.append(f"{pairs.masks}: {count - len(pairs.class_of)} rows have no class, so no class is read")
    if len(pairs.class_of) < count:
        pairs.class_of.clear()
        problems += [f"{image} is listed {len({*each})} times" for image, each in masks.items() if len({*each}) > 1]
    for image, each in masks.items():
        first, *others = dict.fromkeys(each)
        if others and pairs.class_of:
            pairs.more[image] = others
        pairs.by_split[split_of_image[image]].append((image, first))
    if not pairs.more:
        pairs.class_of.clear()  # a column of something else
    return pairs, problems


def _class_names(path: Path) -> Mapping[str, str]:
    """Names of classes by what a table has for them, as Open Images does in a file of its own."""
    for beside in sorted(path.parent.glob("*class-descriptions*.csv")):
        try:
            with beside.open(newline="", encoding="utf-8-sig") as file:
                return {row[0].strip(): row[1].strip() for row in csv.reader(file) if len(row) > 1}
        except (OSError, ValueError, csv.Error):
            continue
    return {}


def _file(name: str, table: Path, index: ImageIndex) -> Path | None:
    """The file that a table names: by its path, or by its name anywhere, but never one of another ending."""
    try:
        found = index.find(name, table.parent)
    except OSError:  # the name is too long for one
        return None
    last = re.split(r"[\\/]", name)[-1].lower()
    has_ending = Path(last).suffix in MASK_SUFFIXES
    return found if found and (found.name.lower() == last or not has_ending) else None


def _rows(path: Path) -> Iterator[Row | str]:
    """The rows of a table, or what is wrong with one; nothing if it is something else.

    Raises:
        ValueError: it is no table; errors of other kinds where it is one of other things.
    """
    if path.stat().st_size > _LARGEST:
        return
    ending = path.suffix.lower()
    if ending == ".json":
        yield from _records(read_json(path))
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = (line.rstrip("\r\n") for line in file)  # a tab at the start of a line is an empty cell
        if ending == ".jsonl":
            yield from _of_records((json.loads(line) for line in lines if line.strip()), None)
        elif ending == ".txt":
            yield from _of_lines(lines)
        else:
            head = next(lines, "")
            delimiter = max(",;\t|", key=head.count)
            names = next(csv.reader([head], delimiter=delimiter), [])
            if _TWO_PATHS.match(head):
                yield from _of_lines([head, *lines])
            else:
                rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
                yield from _of_records((dict(zip(map(str.strip, names), row)) for row in rows if row), None)


def _of_lines(lines: Any) -> Iterator[Row | str]:
    is_table = False
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        found = _TWO_PATHS.match(line)
        if not (found or is_table):
            return
        is_table = True
        if not found:
            yield f"{shortened(line)} is not an image and a mask"
            continue
        yield Row(found["image"].strip("\"' "), found["mask"].strip("\"' "))


def _records(content: Any) -> Iterator[Row | str]:
    """Rows of a list of records, or of several lists, each of a split."""
    lists = content.items() if isinstance(content, dict) else [("", content)]
    for key, records in lists:
        if isinstance(records, list) and records and all(isinstance(each, dict) for each in records):
            yield from _of_records(records, split_of(key))


def _of_records(records: Iterable[Any], split: str | None) -> Iterator[Row | str]:
    records = iter(records)
    first = [*islice(records, _PEEKED)]  # cells may be empty, and a row be broken later
    columns = next(filter(None, map(_columns, first)), None)
    if columns is None:
        return
    for record in chain(first, records):
        image, mask = (record.get(column) for column in columns[:2])
        label, own = (str(record.get(column) or "").strip() or None if column else None for column in columns[2:])
        if isinstance(image, str) and isinstance(mask, str) and image.strip() and mask.strip():
            yield Row(image.strip(), mask.strip(), label, split_of(own) if own else split)
        elif (split_of(own) if own else split) != "test":  # whose masks are kept back
            yield f"has no {columns[0] if mask else columns[1]}"


def _columns(record: Mapping) -> tuple[str, str, str | None, str | None] | None:
    """The columns of image, mask, class and split, told by names and by what the first row has; None if there are none.

    The image may be without its ending, as Open Images has it.
    """
    paths = [
        key
        for key, value in record.items()
        if isinstance(value, str) and Path(value.strip().replace("\\", "/")).suffix.lower() in MASK_SUFFIXES
    ]
    roles = {key: role_of(words(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key))) for key in paths}
    masks = [key for key in paths if roles[key] == "mask"]
    with_image = [key for key in paths if Path(record[key].strip()).suffix.lower() in SUFFIXES]
    images = [key for key in with_image if roles[key] == "image" or key.strip().lower() in _IMAGE_IDS]
    images = images or [key for key in with_image if not roles[key]]
    images = images or [key for key in record if key.lower() in _IMAGE_IDS]
    if not masks or not images:
        return None
    named = (
        next((key for key in record if key.lower().strip() in names and key not in paths), None)
        for names in (_CLASS_COLUMNS, _SPLIT_COLUMNS)
    )
    return images[0], masks[0], *named
