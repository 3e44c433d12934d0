"""Hostile content for tests, as hypothesis strategies: values of any kind, and documents with a part replaced."""

from __future__ import annotations

import copy
import math

from hypothesis import strategies as st

NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 1.5, -0.0, 1e-300, 1e300, math.inf, -math.inf, math.nan, 2**31, 2**63, 2**64, 10**30, 20000, True]
)
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "a\nb",
        "\x1b]0;t\x07",
        "\ud800",
        "\u202e",
        "x" * 5000,
        "/etc/passwd",
        "http://127.0.0.1:9/x",
        "sr",
        "évil",
    ]
)
SINGLE = st.none() | st.booleans() | NUMBERS | TEXTS
ANYTHING = st.recursive(
    SINGLE,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXTS | st.integers(), each, max_size=3),
    max_leaves=6,
)


def places(document: object, path: tuple = ()) -> list[tuple]:
    """Every place in nested dicts and lists, as the keys that lead to it."""
    found = [path] if path else []
    if isinstance(document, dict):
        return found + [place for key in document for place in places(document[key], (*path, key))]
    if isinstance(document, (list, tuple)):
        return found + [place for i, each in enumerate(document[:4]) for place in places(each, (*path, i))]
    return found


@st.composite
def changed(draw, document: object, more_keys: tuple[str, ...] = ()) -> object:
    """The document with a value replaced or removed, or with one of these keys added to a dict in it."""
    document = copy.deepcopy(document)
    *path, last = draw(st.sampled_from(places(document)))
    part = document
    for key in path:
        part = part[key]
    if isinstance(part, tuple):
        return draw(ANYTHING)
    action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if action == "replace":
        part[last] = draw(ANYTHING)
    elif action == "remove" or not isinstance(part, dict):
        del part[last]
    else:
        part[draw(st.sampled_from(more_keys) if more_keys else TEXTS)] = draw(ANYTHING)
    return document


def assert_one_line(error: Exception, *parts: str) -> None:
    """Check that an error can be printed as it is."""
    text = str(error)
    assert "\n" not in text and "\x1b" not in text and len(text) < 5000, text
    assert all(part in text for part in parts), text
