"""Checks of what a module is given: each error names the argument, its value and the limit."""

from collections.abc import Iterable
from numbers import Integral, Real


def check_whole(**values: int) -> None:
    """Refuse anything but whole numbers of at least 1; the keywords are the names for the message.

    Raises:
        ValueError: another number, or none at all.
    """
    for name, value in values.items():
        if not _is_whole(value):
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_wholes(**values: Iterable[int]) -> None:
    """The same for sequences of such numbers."""
    for name, value in values.items():
        if not isinstance(value, (tuple, list)) or not all(map(_is_whole, value)):
            raise ValueError(f"{name} must be a tuple of whole numbers of at least 1, got {value!r}")


def check_share(**values: float) -> None:
    """Refuse anything but numbers from 0 to 1.

    Raises:
        ValueError: another number, or none at all.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= value <= 1:
            raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")


def check_flag(**values: bool) -> None:
    """Refuse anything but True and False: another value would pass for one of them.

    Raises:
        ValueError: another value.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {value!r}")


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is not among the choices.

    Raises:
        ValueError: there is no such choice; the message lists them.
    """
    choices = list(choices)  # a list also takes what cannot be hashed
    if value not in choices:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")


def divided(channels: int, parts: int, what: str = "reduction") -> int:
    """``channels / parts``.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    check_whole(**{"channels": channels, what: parts})
    if channels % parts:
        raise ValueError(f"channels={channels} is not divisible by {what}={parts}")
    return channels // parts


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
