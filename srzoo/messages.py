"""Words that several error messages share."""

from __future__ import annotations

import difflib
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

_LONGEST = 2000  # characters of a line that is printed
_LARGEST = 1 << 4096  # a larger number is not written out


def one_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none, as `visible` text."""
    return visible(next(iter(str(error)[: 2 * _LONGEST].splitlines()), "") or type(error).__name__)


def visible(text: str, length: int = _LONGEST) -> str:
    """A text from outside, such as a file's name, for a terminal: in one line, and cut off where it is long.

    Control characters, which can move the cursor or change the colours, and marks that reverse the direction of
    writing become escapes such as ``\\x1b``.
    """
    shown = "".join(c if is_visible(c) else c.encode("unicode_escape").decode() for c in text[:length])
    return shown if len(text) <= length else f"{shown}..."


def is_visible(character: str) -> bool:
    """Whether a character cannot change what a terminal shows of the text around it."""
    if character.isprintable():
        return True
    is_joiner = character in "\u200c\u200d"  # in Persian, in Indian scripts and in emoji
    return is_joiner or unicodedata.category(character) in ("Zs", "Co", "Cn")


def shortened(value: object, length: int = 60) -> str:
    """A value from a file as Python writes it, on one line, cut off where it is long.

    Its cost is bounded too, whatever the value: a few lines of YAML can stand for a list of millions.
    """
    if isinstance(value, (str, bytes)):
        text = repr(value[: length + 1])
    elif isinstance(value, int) and abs(value) >= _LARGEST:
        return f"a number of {value.bit_length():,} bits"
    else:
        text = repr(value) if _is_small(value) else _Brief().repr(value)
        if "\n" in text:  # of a model or an array
            text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length]}..."


def _is_small(value: object, most: int = 100) -> bool:
    """Whether a value consists of few parts, each of them small."""
    left = [value]
    for _ in range(most):
        if not left:
            return True
        part = left.pop()
        if isinstance(part, Mapping):
            left += [*list(part)[:most], *list(part.values())[:most]] if len(part) < most else [None] * most
        elif isinstance(part, (list, tuple, set, frozenset)):
            left += part if len(part) < most else [None] * most
        elif (isinstance(part, (str, bytes)) and len(part) > 1000) or (isinstance(part, int) and abs(part) >= _LARGEST):
            return False
    return not left


class _Brief(reprlib.Repr):
    """Python's short form, without the digits of huge numbers."""

    def repr_int(self, x: int, level: int) -> str:
        return shortened(x)


def nearest(name: str, choices: Iterable[str], key: Callable[[str], str] = str, cutoff: float = 0.5) -> str:
    """``; did you mean ...?`` for an error message, or an empty string if no choice is similar.

    Args:
        name: what was given.
        choices: what is known.
        key: what of a choice is compared; of equal ones the first is meant.
        cutoff: how similar it must be, from 0 to 1, as in `difflib.get_close_matches`.
    """
    compared: dict[str, str] = {}
    for choice in choices:
        compared.setdefault(key(choice), choice)
    found = difflib.get_close_matches(str(name)[:100], list(compared), n=1, cutoff=cutoff)
    return f"; did you mean {compared[found[0]]!r}?" if found else ""


def no_option(
    owner: str,
    name: str,
    takes: Sequence[str],
    elsewhere: Sequence[str] = (),
    synonyms: Mapping[str, str] | None = None,
) -> str:
    """The error message for an option that ``owner`` lacks: those that it takes, and the one that was probably meant.

    Args:
        owner: what was given the option.
        name: of the option.
        takes: the names that it has.
        elsewhere: names that may be meant, but are given in another way.
        synonyms: names that options have elsewhere, and theirs here.
    """
    meant = nearest((synonyms or {}).get(name, name), [*takes, *elsewhere])
    return f"{owner} has no option {name!r}; it takes {', '.join(takes) or 'none'}{meant}"


@contextmanager
def importing(what: str, install: str) -> Iterator[None]:
    """Context manager to import a package that not everybody has installed.

    Args:
        what: what needs the package, with the verb.
        install: what ``pip install`` gets.

    Raises:
        ModuleNotFoundError: the package is missing.
        ImportError: it cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError)
        package = (error.name or "").partition(".")[0]
        lacking = f"the package {package!r}" if package else "a package that cannot be imported"  # raised by a package
        reason = "" if is_missing and package else f" ({one_line(error)})"
        kind = ModuleNotFoundError if is_missing else ImportError  # a package's own kind may take other arguments
        raise kind(f"{what} {lacking}{reason}: pip install {install}", name=error.name, path=error.path) from error


def and_more(items: Sequence[str], shown: int = 1, separator: str = ", ") -> str:
    """The first ``shown`` items, and the number of the others: ``a, b, and 3 more``."""
    others = [f"and {len(items) - shown} more"] if len(items) > shown else []
    return separator.join([*items[:shown], *others])
