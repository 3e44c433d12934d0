"""Values in a file that anyone may have written, read with their types, ranges and lengths.

A `Value` knows the file and the key that it stands at, so every error names both:

    >>> header = parse_json('{"short_side": "big"}', "m.safetensors")
    >>> header["short_side"].whole(1, 4096)
    ValueError: m.safetensors: short_side must be a whole number from 1 to 4096, got 'big'
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from ..messages import is_visible, shortened

_DEPTH, _PARTS = 32, 2_000_000  # of nested lists and mappings, and of all that they hold
_SHOWN = 120  # characters of an invalid value in an error


class Value:
    """A value in a file.

    Attributes:
        found: the value, as the parser of the file returned it.
        where: prefix of errors, such as the name of the file.
        key: where it is in the file, such as ``transform.mean[0]``; empty for all of it.
    """

    __slots__ = ("found", "key", "where")

    def __init__(self, found: object, where: str, key: str = ""):
        self.found, self.where, self.key = found, where, key

    def fail(self, wanted: str) -> NoReturn:
        """Raise the error that this must be something else.

        Args:
            wanted: what it must be, such as "a whole number from 1 to 8".
        """
        what = self.key or "its content"
        raise ValueError(f"{self.where}: {what} must be {wanted}, got {shortened(self.found, _SHOWN)}")

    def text(self, longest: int = 256) -> str:
        """A text of 1 to ``longest`` characters, none of which controls a terminal."""
        found = self.found
        if not isinstance(found, str) or not 0 < len(found) <= longest or not all(map(is_visible, found)):
            self.fail(f"a text of 1 to {longest} characters, without control characters")
        return found

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        if not isinstance(self.found, int) or isinstance(self.found, bool) or not low <= self.found <= high:
            self.fail(f"a whole number from {low} to {high}")
        return self.found

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number from ``low`` to ``high``."""
        found = self.found
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
        # An integer may be too large for a float, and so is compared first.
        if not is_number or not low <= found <= high or not abs(found) <= _FINITE:
            self.fail(_range(low, high))
        return found

    def flag(self) -> bool:
        """True or False."""
        if not isinstance(self.found, bool):
            self.fail("true or false")
        return self.found

    def one_of(self, *choices: str) -> str:
        """One of these texts."""
        if not isinstance(self.found, str) or self.found not in choices:
            self.fail(f"one of {', '.join(choices)}")
        return self.found

    def items(self, fewest: int = 0, most: int = 4096) -> list[Value]:
        """The values of a list of this length."""
        if not isinstance(self.found, (list, tuple)) or not fewest <= len(self.found) <= most:
            self.fail(f"a list of {fewest} to {most} values" if fewest != most else f"a list of {most} values")
        return [Value(each, self.where, f"{self.key}[{i}]") for i, each in enumerate(self.found)]

    def keys(self, most: int = 4096) -> dict[str, Value]:
        """The values of a mapping, by its keys, which must be texts."""
        found = self.found
        if not isinstance(found, Mapping) or len(found) > most or not all(isinstance(key, str) for key in found):
            self.fail(f"a mapping of at most {most} names to values")
        return {key: Value(each, self.where, self._below(key)) for key, each in found.items()}

    def __getitem__(self, name: str) -> Value:
        """The value of a key that a mapping must have."""
        if not isinstance(self.found, Mapping):
            self.fail(f"a mapping with the key {name!r}")
        if name not in self.found:
            raise ValueError(f"{self.where}: {self.key or 'it'} lacks the key {name!r}")
        return Value(self.found[name], self.where, self._below(name))

    def get(self, name: str) -> Value | None:
        """The value of a key; None if the mapping does not have it, or has null."""
        return self[name] if isinstance(self.found, Mapping) and self.found.get(name) is not None else None

    def plain(self, depth: int = 4) -> Any:
        """A number, text, flag or None, or a list or mapping of these; lists become tuples.

        Args:
            depth: how deep lists and mappings may be nested.
        """
        found = self.found
        if isinstance(found, (list, tuple, Mapping)) and not depth:
            self.fail("nested less deep")
        if isinstance(found, (list, tuple)):
            return tuple(each.plain(depth - 1) for each in self.items(most=_PLAIN_ITEMS))
        if isinstance(found, Mapping):
            return {key: each.plain(depth - 1) for key, each in self.keys(_PLAIN_ITEMS).items()}
        if isinstance(found, str) and found:
            return self.text()
        if isinstance(found, int) and not isinstance(found, bool):
            return self.whole(-_PLAIN_NUMBER, _PLAIN_NUMBER)
        if isinstance(found, float):
            return self.number()
        if found is not None and not isinstance(found, (str, bool)):
            self.fail("a number, a text, true, false, null, or a list or mapping of these")
        return found

    def _below(self, name: str) -> str:
        shown = name if name.isidentifier() and len(name) < _SHOWN else shortened(name, _SHOWN)
        return f"{self.key}.{shown}" if self.key else shown


_FINITE = 1.7e308
_PLAIN_ITEMS, _PLAIN_NUMBER = 64, 1 << 16


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number"
    return f"a number from {low:g} to {high:g}" if math.isfinite(high) else f"a number of {low:g} or more"


def parse_json(text: str, where: str, longest: int = 4 << 20) -> Value:
    """Parse JSON.

    Args:
        text: the JSON.
        where: prefix of errors, such as the name of the file.
        longest: number of characters at most.

    Raises:
        ValueError: it is longer, is not JSON, or is nested too deep.
    """
    if len(text) > longest:
        raise ValueError(f"{where}: {len(text):,} characters, expected at most {longest:,}")
    try:
        return bounded(json.loads(text), where)
    except RecursionError:
        raise ValueError(f"{where}: nested more than {_DEPTH} deep") from None
    except ValueError as error:
        if str(error).startswith(where):
            raise
        raise ValueError(f"{where}: not JSON ({error})") from error


def bounded(found: object, where: str, depth: int = _DEPTH, parts: int = _PARTS) -> Value:
    """Check that lists and mappings are nested to a limited depth and hold a limited number of values.

    In YAML a value can stand in several places, so that a few lines hold millions of values, or one holds itself.

    Args:
        found: what a parser returned.
        where: prefix of errors, such as the name of the file.
        depth, parts: the limits.

    Raises:
        ValueError: there are more.
    """
    level, count = [found], 0
    for _ in range(depth + 1):
        below: list = []
        for each in level:
            below.extend(_parts(each))
            if count + len(below) > parts:
                raise ValueError(f"{where}: more than {parts:,} values")
        if not below:
            return Value(found, where)
        level, count = below, count + len(below)
    raise ValueError(f"{where}: nested more than {depth} deep")


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
