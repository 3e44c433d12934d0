"""Command-line options from a dataclass of options, see `srzoo.options`."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import types
import typing
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Literal

from ..options import alternatives, full_names, keys

_METAVARS = {str: "TEXT", int: "N", float: "X", dict: "MAP"}
_NONE = types.MappingProxyType({})


def path_argument(text: str) -> Path:
    """The type of arguments that name a file or folder.

    An empty one, as an unset variable of the shell gives, would be the current folder, and an address a relative path.
    """
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; name a file or folder")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is an address; give a path on this machine")
    return Path(text)


def add_options(
    parser: argparse.ArgumentParser,
    cls: type,
    title: str = "",
    moved: Mapping[str, str] = _NONE,
    block: str = "",
    skipped: Container[str] = (),
    with_defaults: bool = True,
) -> None:
    """Add an option for each key, and a group of options for each block.

    The options have no defaults: only those that are given are in the namespace, so they override a recipe file only
    where the user wants it.

    Args:
        parser: the parser to add the options to.
        cls: the dataclass of options.
        title: title of the group. For a block it is the first line of its docstring.
        moved: old names, which are accepted but not in the help, see `srzoo.options.renamed`.
        block: prefix of the full names, such as ``"semantic."``.
        skipped: names that the parser already has.
        with_defaults: add the default of each key to its help.
    """
    defaults = {item.name: item.default for item in dataclasses.fields(cls)}
    group = parser.add_argument_group(title) if title else parser
    for name, key in keys(cls).items():
        full = f"{block}{name}"
        if full in skipped:
            continue
        if key.is_block:
            title = inspect.cleandoc(key.kind.__doc__).splitlines()[0].rstrip(".")
            add_options(parser, key.kind, title, moved, f"{full}.", with_defaults=with_defaults)
            continue
        settings = {"default": argparse.SUPPRESS, **_settings(key.kind)}
        shown = f"{key.help}{default_of({cls.__name__: defaults[name]}) if with_defaults else ''}"
        group.add_argument(f"--{full}", dest=full, help=shown.replace("%", "%%"), **settings)
        for old in (old for old, new in moved.items() if new == full):
            group.add_argument(f"--{old}", dest=old, help=argparse.SUPPRESS, **settings)


def default_of(defaults: Mapping[str, Any]) -> str:
    """The default of a key as the help shows it; nothing if it has none, or none that says anything.

    Args:
        defaults: for each of those that have the key, by name.
    """
    words = {
        name: _words(value)
        for name, value in defaults.items()
        if value is not None and value is not dataclasses.MISSING and value != () and value != ""
    }
    if not words:
        return ""
    is_one = len(set(words.values())) == 1 and len(words) == len(defaults)
    shown = [next(iter(words.values()))] if is_one else [f"{word} for {name}" for name, word in words.items()]
    return f" (default: {', '.join(shown)})"


def _words(value: Any) -> str:
    """A value as it is given on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def given_options(namespace: argparse.Namespace, cls: type, moved: Mapping[str, str] = _NONE) -> dict[str, Any]:
    """The options of `add_options` that were given, as values for `srzoo.options.read`."""
    names = {*full_names(cls), *moved}
    return {name: value for name, value in vars(namespace).items() if name in names}


def repeated(options: Any, usual: Any = None) -> list[str]:
    """The command-line words for an instance of a dataclass.

    Args:
        options: the instance.
        usual: another one, whose values are left out; default one with the class's defaults.
    """
    words, usual = [], type(options)() if usual is None else usual
    for item in dataclasses.fields(options):
        value = getattr(options, item.name)
        if value == getattr(usual, item.name):
            continue
        words.append(f"--{item.name}")
        if value is not True:
            words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return words


def yaml_value(text: str) -> Any:
    """The value of a word of the command line as YAML.

    Raises:
        argparse.ArgumentTypeError: it is not YAML.
    """
    import yaml  # not needed for `srzoo --help`

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"not YAML: {text!r}") from error


def _settings(kind) -> dict[str, Any]:
    """Arguments of ``add_argument`` for a type. `srzoo.options.read` checks the value later."""
    kinds = [each for each in alternatives(kind) if each is not type(None)]
    if any(typing.get_origin(each) is tuple for each in kinds):
        return {"type": yaml_value, "nargs": "+", "action": _ListOrValue, "metavar": "X"}
    if kinds == [bool]:
        return {"type": yaml_value, "nargs": "?", "const": True, "metavar": "true|false"}
    if typing.get_origin(kinds[0]) is Literal:
        return {"metavar": "|".join(typing.get_args(kinds[0]))}
    if kinds == [str]:
        return {"type": str if kind is str else _text_or_null, "metavar": _METAVARS[str]}
    return {"type": yaml_value, "metavar": _METAVARS.get(kinds[0], "VALUE")}


def _text_or_null(text: str) -> str | None:
    return None if text == "null" else text


class _ListOrValue(argparse.Action):
    """Stores several words as a list, and one word as itself, which may be a list: ``0.5 2`` or ``'[0.5, 2]'``."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values[0] if len(values) == 1 else values)
