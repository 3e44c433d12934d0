"""Options as dataclasses: values from YAML, Python or the command line, checked by their types, with one-line errors.

A dataclass defines the keys. The type of a field says which values are valid; `option` adds its help and its limits.
A field whose type is a dataclass is a block: ``semantic: {crop: 320}`` in YAML, ``--semantic.crop 320`` as an option.
Types are ``str``, ``int``, ``float``, ``bool``, ``dict``, ``Literal``, ``tuple`` of these, and unions, also with
``None``.

`read` returns the given keys by their full names, such as ``{"semantic.crop": 320}``. `merged` combines the keys of
several files and the command line, and `build` makes the dataclass. `srzoo.cli.arguments` adds the options to a parser.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
import types
import typing
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

from .messages import nearest, shortened

T = TypeVar("T")

_WORDS = {
    str: ("a string",),
    int: ("a whole number",),
    float: ("a number",),
    bool: ("true", "false"),
    dict: ("keys and values, such as {nodes: 32}",),
    type(None): ("null",),
}
_COUNTS = ("no", "one", "two", "three", "four")
_LARGEST = 1 << 53
_SHOWN = 120  # characters of an invalid value in an error


class Key(NamedTuple):
    """One key of a dataclass of options.

    Attributes:
        kind: the type of the field; for a block its dataclass.
        is_block: whether the field is a block of keys.
        is_required: whether the field has no default.
        help, low, high, wanted: the arguments of `option`.
    """

    kind: Any
    is_block: bool
    is_required: bool
    help: str = ""
    low: float = -math.inf
    high: float = math.inf
    wanted: str = ""


def option(help: str, default: Any = dataclasses.MISSING, *, low=-math.inf, high=math.inf, wanted: str = "") -> Any:
    """Define a field of a dataclass of options, like ``dataclasses.field``.

    Args:
        help: what the value means, with its unit; shown by ``--help``.
        default: the default value, or a type that makes it, such as ``dict``; without it the key is required.
        low: least valid number; for a tuple it holds for each number. Numbers must be finite in any case.
        high: greatest valid number.
        wanted: what the value must be, for errors; by default it follows from the type.
    """
    metadata = {"help": help, "low": low, "high": high, "wanted": wanted}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def documented(cls: type[T]) -> type[T]:
    """Class decorator that lists the keys with their help in the docstring, for ``help(cls)`` and notebooks."""
    lines = [f"    {name}: {key.help}." for name, key in keys(cls).items() if key.help]
    cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or cls.__name__), "", "Attributes:", *lines])
    return cls


@functools.cache
def keys(cls: type) -> dict[str, Key]:
    """The fields of a dataclass that are options or blocks, by name."""
    kinds = typing.get_type_hints(cls)
    found = {}
    for item in dataclasses.fields(cls):
        is_block = dataclasses.is_dataclass(kinds[item.name])
        if is_block or "help" in item.metadata:
            is_required = item.default is item.default_factory is dataclasses.MISSING
            found[item.name] = Key(kinds[item.name], is_block, is_required, **item.metadata)
    return found


def full_names(cls: type, block: str = "") -> list[str]:
    """The full names of all keys, including those in blocks: ``["lr", "semantic.crop"]``."""
    names = []
    for name, key in keys(cls).items():
        names += full_names(key.kind, f"{block}{name}.") if key.is_block else [f"{block}{name}"]
    return names


def alternatives(kind) -> tuple:
    """The types of a union, or the type itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def check(options) -> None:
    """Convert every attribute to its type, in place, and check its limits.

    Call it in the ``__post_init__`` of a dataclass of options. The value of a block may be a mapping.

    Raises:
        ValueError: a value has the wrong type or is out of range; the message starts with its name.
    """
    for name, key in keys(type(options)).items():
        value = getattr(options, name)
        if not key.is_block:
            value = _read_value(key, name, value)
        elif not isinstance(value, key.kind):
            value = build(key.kind, read(key.kind, value, block=f"{name}."), block=f"{name}.")
        object.__setattr__(options, name, value)  # some are frozen


def read(cls: type, values: Mapping, where: str = "", block: str = "") -> dict[str, Any]:
    """Convert values to the types of their keys, and check their limits.

    Args:
        cls: the dataclass of options.
        values: from YAML, Python or the command line. Keys in a block are given as a mapping, or by their full names.
        where: prefix of errors, such as the name of a file.
        block: prefix of the full names, such as ``"semantic."``.

    Returns:
        The given keys by their full names.

    Raises:
        ValueError: a key is unknown or given twice, or its value has the wrong type or is out of range.
    """
    if not isinstance(values, Mapping):
        _fail(where, f"{block.rstrip('.') or 'this'} must be keys and values, got {shortened(values, _SHOWN)}")
    found = {}
    for name, value in values.items():
        first, dot, rest = str(name).partition(".")
        full, key = f"{block}{first}", keys(cls).get(first)
        if key is None or (dot and not key.is_block):
            names = full_names(cls, block)
            meant = nearest(first, names, key=_last_part) or f"; the keys are {', '.join(names)}"
            _fail(where, f"unknown key {shortened(f'{block}{name}' if block else name)}{meant}")
        if key.is_block:
            inner = {} if value is None else value  # None is YAML's value of an empty block
            part = read(key.kind, {rest: value} if dot else inner, where, f"{full}.")
        else:
            part = {full: _read_value(key, full, value, where)}
        if twice := part.keys() & found.keys():
            _fail(where, f"{min(twice)} is given twice; leave one out")
        found |= part
    return found


def build(cls: type[T], found: Mapping[str, Any], where: str = "", block: str = "", **others) -> T:
    """Make an instance of a dataclass of options.

    Args:
        cls: the dataclass.
        found: the values by full name, from `read`. Keys of other blocks are ignored; missing keys have their defaults.
        where, block: as for `read`.
        **others: fields that are not options.

    Raises:
        ValueError: a key without a default is missing, or ``__post_init__`` raises ValueError because the values do not
            fit together. The message of the latter must start with the name of a key; ``where`` and ``block`` are put
            before it.
    """
    own = {}
    for name, key in keys(cls).items():
        full = f"{block}{name}"
        if key.is_block:
            own[name] = build(key.kind, found, where, f"{full}.")
        elif full in found:
            own[name] = found[full]
        elif key.is_required:
            raise ValueError(f"{where or cls.__name__} has no {full}: add it to the file, or pass --{full} VALUE")
    try:
        return cls(**own, **others)
    except ValueError as error:
        _fail(where, f"{block}{error}")


def merged(found: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Combine two results of `read`: ``overrides`` replace values in ``found``; values that are dicts are joined."""
    joined = {
        name: found[name] | value
        for name, value in overrides.items()
        if isinstance(value, dict) and isinstance(found.get(name), dict)
    }
    return {**found, **overrides, **joined}


def renamed(values: Mapping, moved: Mapping[str, str]) -> tuple[Mapping, list[str]]:
    """Replace the old names of keys by the new ones.

    Args:
        values: as for `read`.
        moved: the new name for each old name, such as ``{"crop": "semantic.crop"}``.

    Returns:
        The values, and a text ``crop is now semantic.crop`` for each old name in them.
    """
    old = [name for name in values if name in moved]
    if not old:
        return values, []
    kept = [(name, value) for name, value in values.items() if name not in moved]
    new = dict(kept + [(moved[name], values[name]) for name in old])
    return new, [f"{name} is now {moved[name]}" for name in old]


def _last_part(full: str) -> str:
    return full.rpartition(".")[2]


class _WrongValue(Exception):
    def __init__(self, kind, value):
        self.kind, self.value = kind, value


def _read_value(key: Key, full: str, value, where: str = "") -> Any:
    """Convert a value to the type of its key, and check its limits."""
    try:
        result = _as(key.kind, value)
    except _WrongValue as error:
        wanted = key.wanted if key.wanted and error.kind == key.kind else _words(error.kind)
        _fail(where, f"{full} must be {wanted}, got {shortened(error.value, _SHOWN)}")
    for number in result if isinstance(result, tuple) else (result,):
        if isinstance(number, int) and abs(number) > _LARGEST:  # which few places could compute with
            _fail(where, f"{full} must be at most {_LARGEST:,}, got {shortened(result, _SHOWN)}")
        if isinstance(number, Real) and not (math.isfinite(number) and key.low <= number <= key.high):
            _fail(where, f"{full} must be {_range(key)}, got {shortened(result, _SHOWN)}")
    return result


def _as(kind, value) -> Any:
    """Convert a value to the first type of a union that accepts it; raise `_WrongValue` if none does."""
    wrong = _WrongValue(kind, value)
    if _is_list(kind) and isinstance(value, (str, Real)):  # a list of one
        value = [value]
    for each in alternatives(kind):
        try:
            return _as_one(each, value)
        except _WrongValue as error:
            if error.value is not value:  # a part of it is wrong, such as the second of two numbers
                wrong = error
    raise wrong


def _is_list(kind) -> bool:
    """Whether a type is a tuple of any length and nothing else, but for ``None``."""
    kinds = [each for each in alternatives(kind) if each is not type(None)]
    return len(kinds) == 1 and typing.get_origin(kinds[0]) is tuple and typing.get_args(kinds[0])[-1] is Ellipsis


def _as_one(kind, value) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float):
        return _as_number(kind, value)
    if origin is Literal and value is False and "no" in parts:  # YAML reads no without quotes as false
        return "no"
    if origin is Literal and value in parts:
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        if len(kinds) == len(value):
            return tuple(map(_as, kinds, value))
    if kind is str and isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if kind is dict and isinstance(value, Mapping):
        return dict(value)
    if kind in (bool, type(None)) and isinstance(value, kind):
        return value
    raise _WrongValue(kind, value)


def _as_number(kind: type, value) -> int | float:
    """Convert to a number. YAML reads 1e-3 as a string; an int may be written as 8.0 or 1e5."""
    if isinstance(value, bool) or not isinstance(value, (str, Real)):
        raise _WrongValue(kind, value)
    if kind is int and isinstance(value, int):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _WrongValue(kind, value) from None
    if kind is int and not number.is_integer():
        raise _WrongValue(kind, value)
    return kind(number)


def _words(kind) -> str:
    """The valid values of a type in words, such as ``true, false or two numbers``."""
    *others, last = (word for each in alternatives(kind) for word in _words_of_one(each))
    return f"{', '.join(others)} or {last}" if others else last


def _words_of_one(kind) -> tuple[str, ...]:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return (f"one of {', '.join(map(str, parts))}",)
    if origin is tuple:
        what = "numbers" if {*parts} <= {int, float, Ellipsis} else "values"
        return (what if parts[-1] is Ellipsis else f"{_COUNTS[len(parts)]} {what}",)
    return _WORDS[kind]


def _range(key: Key) -> str:
    if math.isinf(key.high):
        return "finite" if math.isinf(key.low) else f"{key.low} or more"
    return f"{key.high} or less" if math.isinf(key.low) else f"from {key.low} to {key.high}"


def _fail(where: str, message: str) -> NoReturn:
    raise ValueError(f"{where}: {message}" if where else message)
