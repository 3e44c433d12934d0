"""Errors as the one line that a user reads."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence


def one_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0]


def nearest(name: str, choices: Iterable[str]) -> str:
    """``; did you mean ...?`` for an error message, or nothing where nothing is near.

    Args:
        name: that is none of the choices.
        choices: a mapping is from what is compared to what is shown.
    """
    shown = choices if isinstance(choices, Mapping) else {choice: choice for choice in choices}
    found = difflib.get_close_matches(str(name), list(shown), n=1, cutoff=0.5)
    return f"; did you mean {shown[found[0]]!r}?" if found else ""


def and_more(problems: Sequence[str]) -> str:
    """The first of several problems and how many others there are."""
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


def one_line_yaml(value: object) -> str:
    """A value as YAML on one line, as the command line takes it."""
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).strip()
