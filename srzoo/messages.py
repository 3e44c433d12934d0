"""Words that several error messages share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

_LONGEST = 2000  # characters of a message


def one_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none, as `printable` text."""
    return printable(next(iter(str(error).splitlines()), "") or type(error).__name__)


def printable(text: str, length: int = _LONGEST) -> str:
    """Text from outside for a terminal: without control characters, which could move its cursor, and not too long.

    They are shown as Python writes them, an escape as ``\\x1b``.
    """
    cut = text if len(text) <= length else f"{text[:length]}..."
    return cut if cut.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in cut)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def shortened(value: object, length: int = 60) -> str:
    """A value from a file as Python writes it, on one line, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def nearest(name: str, choices: Iterable[str], key: Callable[[str], str] = str) -> str:
    """``; did you mean ...?`` for an error message, or an empty string if no choice is similar.

    Args:
        name: what was given.
        choices: what is known.
        key: what of a choice is compared; of equal ones the first is meant.
    """
    compared: dict[str, str] = {}
    for choice in choices:
        compared.setdefault(key(choice), choice)
    found = difflib.get_close_matches(str(name), list(compared), n=1, cutoff=0.5)
    return f"; did you mean {compared[found[0]]!r}?" if found else ""


def and_more(items: Sequence[str], shown: int = 1, separator: str = ", ") -> str:
    """The first ``shown`` items, and the number of the others: ``a, b, and 3 more``."""
    others = [f"and {len(items) - shown} more"] if len(items) > shown else []
    return separator.join([*items[:shown], *others])
