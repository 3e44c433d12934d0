"""Checks of a module's arguments. Each error names the argument, its value and the limit."""

import math
from collections.abc import Iterable
from numbers import Integral, Real

from ..messages import shortened


def check_whole(least: int = 1, /, **values: int) -> None:
    """Check that each value is a whole number of at least ``least``.

    Args:
        least: the limit.
        **values: each under the name of its argument.

    Raises:
        ValueError: a value is another number, or not a number.
    """
    for name, value in values.items():
        if not _is_whole(value, least):
            raise ValueError(f"{name} must be a whole number of at least {least}, got {shortened(value)}")


def check_number(least: float, /, **values: float) -> None:
    """Check that each value is a finite number of at least ``least``.

    Args:
        least: the limit.
        **values: each under the name of its argument.

    Raises:
        ValueError: a value is another number, or not a number.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < math.inf:
            raise ValueError(f"{name} must be a number of at least {least}, got {shortened(value)}")


def check_wholes(**values: Iterable[int]) -> None:
    """Check that each value is a tuple or list of whole numbers of at least 1.

    Args:
        **values: each under the name of its argument.

    Raises:
        ValueError: a value is not such a sequence, or has another number in it.
    """
    for name, value in values.items():
        if not isinstance(value, (tuple, list)) or not all(map(_is_whole, value)):
            raise ValueError(f"{name} must be a tuple of whole numbers of at least 1, got {shortened(value)}")


def check_share(**values: float) -> None:
    """Check that each value is a number from 0 to 1.

    Args:
        **values: each under the name of its argument.

    Raises:
        ValueError: a value is another number, or not a number.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= value <= 1:
            raise ValueError(f"{name} must be a number from 0 to 1, got {shortened(value)}")


def check_flag(**values: bool) -> None:
    """Check that each value is True or False. Python would take any other value, such as "no", for one of them.

    Args:
        **values: each under the name of its argument.

    Raises:
        ValueError: a value is not a bool.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {shortened(value)}")


def check_options(**values: dict | None) -> None:
    """Check that each value, keyed by the name of its argument, is a dict of options or None.

    Raises:
        ValueError: one is something else.
    """
    for name, value in values.items():
        if not isinstance(value, (dict, type(None))):
            raise ValueError(f"{name} must be a dict of options, got {shortened(value)}")


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Check that a value is one of the choices.

    Args:
        what: the name of the argument.
        value: what was given.
        choices: what is allowed.

    Raises:
        ValueError: the value is not among the choices; the message lists them.
    """
    choices = list(choices)  # in a list, ``in`` also works for values without a hash
    if value not in choices:
        raise ValueError(f"unknown {what} {shortened(value)}; choose one of {', '.join(choices)}")


def divided(channels: int, parts: int, what: str = "reduction") -> int:
    """``channels / parts``.

    Args:
        channels: the dividend.
        parts: the divisor.
        what: the name of the argument ``parts``.

    Raises:
        ValueError: ``channels`` or ``parts`` is not a whole number of at least 1, or ``channels`` is not divisible.
    """
    check_whole(**{"channels": channels, what: parts})
    if channels % parts:
        raise ValueError(f"channels={channels} is not divisible by {what}={parts}")
    return channels // parts


def _is_whole(value: object, least: int = 1) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least
