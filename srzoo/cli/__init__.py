"""The program ``srzoo``. Each of its commands is a module, which imports most of what it needs only when it runs."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import NoReturn

from .. import __version__
from ..evaluate.distributed import is_main_process
from ..messages import nearest, one_line, visible
from . import convert, data, demo, evaluate, export, info, listing, push, recipe, segment, train
from .process import ended_in_order, prepare_streams

_COMMANDS = {
    "segment": segment,
    "list": listing,
    "info": info,
    "data": data,
    "recipe": recipe,
    "train": train,
    "eval": evaluate,
    "convert": convert,
    "export": export,
    "demo": demo,
    "push": push,
}
_SIMILAR = 0.65  # of a mistyped option to the one that is meant; short names are similar by chance
_BY_SIGNAL = 128  # what a shell adds to the number of the signal that has ended a command
_TRUTH = ("true", "false", "yes", "no", "on", "off")  # as YAML has it


def program() -> int:
    """`main` of a process that ends with it, such as the program ``srzoo``; another Ctrl-C does not disturb its end."""
    status = main()
    if status > _BY_SIGNAL:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``srzoo``; None for those of the process.

    Returns:
        The exit status: 0, or 2 after an error, which is printed as one line on stderr; 128 and the number of the
        signal, such as 130, if a signal ended it. With ``SRZOO_TRACEBACK=1`` in the environment errors are raised
        instead.
    """
    is_program = arguments is None
    if is_program:
        prepare_streams()
    arguments = [_at_home(word) for word in (sys.argv[1:] if is_program else arguments)]
    return (_run if os.environ.get("SRZOO_TRACEBACK") == "1" else _told)(arguments, is_program)


def _run(arguments: list[str], is_program: bool) -> int:
    """Parse the words, and run their command; ``is_program`` says that they are those of the process."""
    with ended_in_order() if is_program else nullcontext():
        options = _parse(arguments)
        if options is None:
            return 2
        with warnings.catch_warnings():  # restores showwarning, too
            warnings.showwarning = _show_warning
            return options.run(options)


def _parse(arguments: list[str]) -> argparse.Namespace | None:
    """The options, whose ``run`` is the command's; None if there is no command, after the help."""
    parser = _Parser(prog="srzoo", description="Scene understanding with Squeeze Reasoning (SRNet).")
    parser.add_argument("--version", action="version", version=f"srzoo {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", dest="command")
    command = next((word for word in arguments if not word.startswith("-")), None)
    for name, module in _COMMANDS.items():
        summary = module.__doc__.splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:  # the options of other commands are not needed, and take time to import
            module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return None
    return options


def _at_home(word: str) -> str:
    """A word with the home folder in place of its ``~``: most shells pass ``--out=~/x`` on as it is.

    ``--data.id_map=~`` and the like are YAML's null, and so is a ``~`` alone, which a shell passes on if it is quoted.
    """
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    is_home = value.startswith(("~/", f"~{os.sep}")) or (value == "~" and option and "." not in option)
    return f"{option}{equals}{os.path.expanduser(value)}" if is_home else word


def _told(arguments: list[str], is_program: bool) -> int:
    """`_run`, but an error is printed as one line."""
    try:
        return _run(arguments, is_program)
    except KeyboardInterrupt as error:
        number = getattr(error, "signal", signal.SIGINT)
        said = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        if is_main_process():
            print(f"srzoo: {said}{f'; {visible(str(error))}' if str(error) else ''}", file=sys.stderr)
        return _BY_SIGNAL + number
    except BrokenPipeError:  # the reader of a pipe has closed it, e.g. `srzoo list | head`
        sys.stderr.close()
        return 0
    except (ValueError, OSError, RuntimeError, FloatingPointError, ImportError) as error:
        print(f"srzoo: {one_line(error)}", file=sys.stderr)
        return 2
    except MemoryError:
        print("srzoo: out of memory; use smaller images, crops, batches or scales", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; argparse prints the usage before them.

    Attributes:
        hint: called with an unknown option, without its dashes, for what to write instead; empty if it is unknown.
    """

    hint: Callable[[str], str] = staticmethod(lambda name: "")

    def parse_known_args(self, args=None, namespace=None):
        if self._subparsers is None:  # the command's own, which knows its options
            self._refuse_dashed_files(args or [])
        namespace, unknown = super().parse_known_args(None if args is None else self._spelled_out(args), namespace)
        if unknown:
            shown = [
                name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings
            ]
            if not unknown[0].startswith("-"):
                self.error(f"unexpected {unknown[0]}; give all of them in one place, after the options")
            name = unknown[0].partition("=")[0]
            key = _without_dashes if "." in name else _plain
            meant = self.hint(_without_dashes(name)) or nearest(key(name), shown, key=key, cutoff=_SIMILAR)
            self.error(f"unknown option {unknown[0]}{meant}")
        return namespace, unknown

    def _refuse_dashed_files(self, words: list[str]) -> None:
        """Say how a file is given whose name begins as an option does, such as one of those that a shell's * names."""
        for word in itertools.takewhile(lambda word: word != "--", words):
            is_option = word.partition("=")[0] in self._option_string_actions or _is_number(word)
            if word.startswith("-") and not is_option and os.path.lexists(word):
                self.error(f"{word} is taken for an option; give the file as .{os.sep}{word}")

    def _spelled_out(self, words: list[str]) -> list[str]:
        """``--flip x.png`` as ``--flip=true x.png``, and ``--scales 0.5 1 x.png`` as ``x.png --scales 0.5 1``.

        argparse would take the path for a value of the option.
        """
        if all(action.option_strings for action in self._actions):
            return words
        words = self._without_paths_in_lists(words)
        may_have_value = [action for action in self._actions if action.const is True and action.nargs == "?"]
        flags = {name for action in may_have_value for name in action.option_strings}
        following = [*words[1:], ""]
        return [
            f"{word}=true" if word in flags and next_word.lower() not in _TRUTH else word
            for word, next_word in zip(words, following)
        ]

    def _without_paths_in_lists(self, words: list[str]) -> list[str]:
        """The words with those that follow the numbers of a list moved before its option."""
        lists = {name for action in self._actions if action.nargs == "+" for name in action.option_strings}
        result: list[str] = []
        option = None  # index in the result of the option whose list of numbers is read
        for i, word in enumerate(words):
            if word == "--":
                return [*result, *words[i:]]
            if word in lists:
                option = len(result) if i + 1 < len(words) and _is_number(words[i + 1]) else None
            elif word.startswith("-") and not _is_number(word):
                option = None
            elif option is not None and not _is_number(word):
                result.insert(option, word)
                option += 1
                continue
            result.append(word)
        return result

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            choices = [*action.choices]
            what = action.metavar if isinstance(action, argparse._SubParsersAction) else "/".join(action.option_strings)
            meant = nearest(value, choices) or f"; choose from {', '.join(map(str, choices))}"
            raise argparse.ArgumentError(None, f"unknown {what.lower()} {value!r}{meant}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"srzoo: {message}; `{self.prog} --help` shows the options\n")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _without_dashes(option: str) -> str:
    return option.lstrip("-")


def _plain(option: str) -> str:
    """The name of an option without dashes and block: ``crop`` for ``--semantic.crop``."""
    return _without_dashes(option).rpartition(".")[2]


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if is_main_process():  # only one of several processes prints it
        print(f"srzoo: warning: {visible(str(message))}", file=sys.stderr)
