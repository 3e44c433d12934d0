"""Files that name the classes of masks, with the value or the colour that each has there, as tools write them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..labels import IGNORE, LabelSet
from ..labels.own import own_labels
from ..messages import shortened
from .files import read_lines
from .masks import IdMap

Colour = tuple[int, int, int]

VOID = frozenset(["__ignore__", "ignore", "ignored", "unlabeled", "unlabelled", "void"])  # names that mean void
BACKGROUND = frozenset(["_background_", "background", "bg"])
_LARGEST = 1 << 20  # bytes of a file of classes
_NAMED = re.compile(r"class|label|code|colou?r|legend|palette|^meta$|categor|^config|^dataset$", re.IGNORECASE)
_SUFFIXES = (".txt", ".csv", ".json")
_NAME_KEYS = ("title", "name", "class", "class_name", "label", "label_name", "category")
_COLOUR_KEYS = ("color", "colour", "color_rgb", "rgb", "color_hex_code", "hex")
_VALUE_KEYS = ("pixel value", "pixel_value", "value", "id", "index", "class_id", "label_id")


@dataclass
class Classes:
    """The classes of a dataset.

    Attributes:
        path: the file that names them.
        names: in the order of the file.
        colours: of each, or None if the file has none.
        values: in the masks of each, or None if they are counted from 0.
    """

    path: Path
    names: list[str]
    colours: list[Colour] | None = None
    values: list[int] | None = None

    @property
    def ids(self) -> list[int]:
        """The class id of each name; names of void have 255."""
        ids, count = [], 0
        for name in self.names:
            # Mapillary's names are as void--unlabeled
            is_void = name.lower().rpartition("--")[2] in VOID and self.path.name != "classes.txt"
            ids.append(IGNORE if is_void else count)
            count += not is_void
        return ids

    def labels(self, fewest: int = 2) -> LabelSet:
        """Names, and colours if the file has different ones.

        Raises:
            ValueError: a name occurs twice, or there are too few or too many.
        """
        kept = [i for i, id in enumerate(self.ids) if id != IGNORE]
        labels = own_labels([self.names[i] for i in kept], str(self.path), fewest)
        if self.colours is None or len({self.colours[i] for i in kept}) < len(kept):
            return labels
        return LabelSet(labels.classes, tuple(self.colours[i] for i in kept))

    def id_map(self, as_colours: bool) -> IdMap | None:
        """From colours or values to class ids; None if the values are the class ids."""
        if as_colours:
            if self.colours is None:
                return None
            known = dict(zip(self.colours, self.ids))
            return IdMap({**({} if any(id == IGNORE for id in self.ids) else _WHITE_VOID), **known})
        ids = dict(zip(self.values or range(len(self.names)), self.ids))
        if self.values is None and IGNORE not in ids.values():
            return None
        return IdMap({IGNORE: IGNORE, **ids})


_WHITE_VOID = {(224, 224, 192): IGNORE}  # the outlines in PASCAL VOC's masks


def find_classes(folders: Sequence[Path]) -> Classes | None:
    """The classes that a file in one of these folders names; the first that can be understood.

    Raises:
        ValueError: a file ``classes.txt`` is not UTF-8, or a file has a colour that is none.
    """
    for folder in dict.fromkeys(folder for folder in folders if folder.is_dir()):
        plain = folder / "classes.txt"
        paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES and path.is_file()]
        paths = [path for path in paths if _NAMED.search(path.stem) and path.stat().st_size <= _LARGEST]
        for path in sorted(paths, key=lambda path: (path != plain, path.suffix.lower() == ".txt")):
            found = read_classes(path)
            if found and (len(found.names) > 1 or path == plain):
                return found
    return None


def read_classes(path: Path) -> Classes | None:
    """The classes in a file, or None if it is something else.

    Raises:
        ValueError: a file ``classes.txt`` is not UTF-8, or a table of colours has one that is none.
    """
    try:
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            if path.stem.lower().startswith("config") and not isinstance(content["labels"], list):
                return None  # of a program, rather than Mapillary's
            found = list(_from_json(content))
        elif path.suffix.lower() == ".csv":
            found = list(_from_table(path))
        else:
            found = list(_from_lines(read_lines(path)))
    except _NoColour as error:
        raise ValueError(f"{path}: {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RuntimeError, csv.Error):
        if path.name == "classes.txt":
            raise
        return None
    if not found:
        return None
    names, colours, values = zip(*found)
    has_colours, has_values = None not in colours, None not in values
    return Classes(path, list(names), list(colours) if has_colours else None, list(values) if has_values else None)


Found = tuple[str, Colour | None, int | None]


def _from_json(content: Any) -> Iterator[Found]:
    if isinstance(content, dict):
        for key in ("classes", "labels", "categories", "items", "names"):
            if isinstance(content.get(key), (list, dict)):
                content = content[key]
                break
    if isinstance(content, list):
        for each in content:
            if isinstance(each, str):
                yield each, None, None
                continue
            name = each[next(key for key in _NAME_KEYS if key in each)]
            colour = next((parse_colour(each[key]) for key in _COLOUR_KEYS if key in each), None)
            value = next((each[key] for key in _VALUE_KEYS if key in each and key != "id"), None)
            yield _text(name), colour, _value(value)
        return
    for key, value in content.items():
        if parse_colour(key):
            yield _text(value), parse_colour(key), None
        elif isinstance(value, str) and key.isdigit():
            yield value, None, int(key)
        elif parse_colour(value):
            yield _text(key), parse_colour(value), None
        else:
            yield _text(key), None, _value(value)


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name {shortened(name)}")
    return name


def _value(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= 65535:
        raise TypeError(f"the value {shortened(value)}")
    return value


def _from_table(path: Path) -> Iterator[Found]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    head = [cell.lower() for cell in rows[0]] if rows else []
    columns = [next((head.index(key) for key in keys if key in head), None) for keys in (_NAME_KEYS, _VALUE_KEYS)]
    if columns[0] is None:
        yield from _from_lines([",".join(row) for row in rows], may_be_plain=all(len(row) == 1 for row in rows))
        return
    rgb = next(
        (
            [head.index(c) for c in names]
            for names in (("r", "g", "b"), ("red", "green", "blue"))
            if {*names} <= {*head}
        ),
        None,
    )
    for row in rows[1:]:
        colour = _of_numbers(row[i] for i in rgb) if rgb else None
        if not rgb and (column := next((head.index(key) for key in _COLOUR_KEYS if key in head), None)) is not None:
            colour = parse_colour(row[column])
        yield row[columns[0]], colour, None if columns[1] is None else int(row[columns[1]])


_LINES = (
    # CVAT's labelmap.txt: name:r,g,b:parts:actions
    (re.compile(r"(?P<name>[^:]+):(?P<r>\d+),(?P<g>\d+),(?P<b>\d+)(:.*)?$"), True),
    (re.compile(r"(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)[\s,]+(?P<name>.*\D.*)$"), True),
    (re.compile(r"(?P<name>.*\D)[\s,:=]+\(?(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)\)?$"), True),
    (re.compile(r"(?P<name>.*[^\s,:=])[\s,:=]+(?P<hex>#[0-9a-fA-F]{6})$"), True),
    (re.compile(r"(?P<value>\d+)\s*[:,=\s]\s*(?P<name>.*\D.*)$"), False),
    (re.compile(r"(?P<name>.+)$"), False),
)


def _from_lines(lines: list[str], may_be_plain: bool = True) -> Iterator[Found]:
    """Classes in lines of one kind; ``may_be_plain`` is whether lines without value and colour may be names."""
    lines = [line for line in lines if not line.startswith("#") or re.match(r"#[0-9a-fA-F]{6}", line)]
    for pattern, has_colour in _LINES if may_be_plain else _LINES[:-1]:
        matches = [pattern.match(line) for line in lines]
        if not all(matches):
            continue
        for match in matches:
            part = match.groupdict()
            colour = None
            if has_colour:
                colour = parse_colour(part["hex"]) if "hex" in part else _of_numbers(part[c] for c in "rgb")
            value = int(part["value"]) if "value" in part else None
            yield part["name"].strip(), colour, value
        return


class _NoColour(ValueError):
    """Raised for numbers that stand where colours do, and are none."""


def _of_numbers(texts: Iterable[str]) -> Colour:
    colour = tuple(map(int, texts))
    if not all(0 <= each < 256 for each in colour):
        raise _NoColour(f"the colour {shortened(colour)}, expected numbers from 0 to 255")
    return colour


def parse_colour(value: Any) -> Colour | None:
    """A colour from ``#rrggbb``, ``rgb(r, g, b)`` or three numbers, or None if it is something else."""
    if isinstance(value, str):
        if re.fullmatch(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?", value.strip()):
            return tuple(bytes.fromhex(value.strip()[1:7]))
        numbers = re.fullmatch(
            r"(?:rgba?)?[(\[]\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?:,\s*[\d.]+\s*)?[)\]]", value.strip()
        )
        value = [int(number) for number in numbers.groups()] if numbers else None
    is_colour = (
        isinstance(value, (list, tuple))
        and len(value) in (3, 4)
        and all(type(each) is int and 0 <= each < 256 for each in value)
    )
    return tuple(value[:3]) if is_colour else None
