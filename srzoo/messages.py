"""Errors as the one line that a user reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def one_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0]


def nearest(name: str, choices: Iterable[str]) -> str:
    """``; did you mean ...?`` for an error message, or nothing where nothing is near."""
    found = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""
