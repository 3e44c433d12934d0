"""The program ``srzoo``. Each of its commands is a module, which imports most of what it needs only when it runs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from typing import NoReturn

from .. import __version__
from ..evaluate.distributed import is_main_process
from ..messages import nearest, one_line, visible
from . import convert, data, demo, evaluate, export, info, listing, push, recipe, segment, train

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
_TRUTH = ("true", "false", "yes", "no", "on", "off")  # as YAML has it


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``srzoo``; None for those of the process.

    Returns:
        The exit status: 0, or 2 after an error, which is printed as one line on stderr; 128 and the number of the
        signal, such as 130, if a signal ended it. With
        ``SRZOO_TRACEBACK=1`` in the environment errors are raised instead.
    """
    is_program = arguments is None
    arguments = sys.argv[1:] if is_program else arguments
    parser = _Parser(prog="srzoo", description="Scene understanding with Squeeze Reasoning (SRNet).")
    parser.add_argument("--version", action="version", version=f"srzoo {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    command = next((word for word in arguments if not word.startswith("-")), None)
    for name, module in _COMMANDS.items():
        summary = module.__doc__.splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:  # the options of other commands are not needed, and take time to import
            module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():  # restores showwarning, too
        warnings.showwarning = _show_warning
        return options.run(options) if os.environ.get("SRZOO_TRACEBACK") == "1" else _run(options, is_program)


def _run(options: argparse.Namespace, is_program: bool) -> int:
    """Run the command, and print an error as one line; ``is_program`` says that the process ends afterwards."""
    try:
        return options.run(options)
    except KeyboardInterrupt as error:
        if is_program:  # a further one would interrupt the end of the process, with a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        number = getattr(error, "signal", signal.SIGINT)
        said = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        if is_main_process():
            print(f"srzoo: {said}{f'; {visible(str(error))}' if str(error) else ''}", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:  # the reader of a pipe has closed it, e.g. `srzoo list | head`
        sys.stderr.close()
        return 0
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        print(f"srzoo: {one_line(error)}", file=sys.stderr)
        return 2
    except MemoryError:
        print("srzoo: out of memory; use smaller images, crops, batches or scales", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; argparse prints the usage before them."""

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(None if args is None else self._spelled_out(args), namespace)
        if unknown:
            shown = [
                name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings
            ]
            name = unknown[0].partition("=")[0]
            key = _without_dashes if "." in name else _plain
            meant = nearest(key(name), shown, key=key)
            self.error(f"unknown option {unknown[0]}{meant}")
        return namespace, unknown

    def _spelled_out(self, words: list[str]) -> list[str]:
        """``--flip x.png`` as ``--flip=true x.png``, as argparse would take a path for the value of the option."""
        if all(action.option_strings for action in self._actions):
            return words
        may_have_value = [action for action in self._actions if action.const is True and action.nargs == "?"]
        flags = {name for action in may_have_value for name in action.option_strings}
        following = [*words[1:], ""]
        return [
            f"{word}=true" if word in flags and next_word.lower() not in _TRUTH else word
            for word, next_word in zip(words, following)
        ]

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            choices = [*action.choices]
            what = action.metavar if isinstance(action, argparse._SubParsersAction) else "/".join(action.option_strings)
            meant = nearest(value, choices) or f"; choose from {', '.join(map(str, choices))}"
            raise argparse.ArgumentError(None, f"unknown {what.lower()} {value!r}{meant}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"srzoo: {message}; `{self.prog} --help` shows the options\n")


def _without_dashes(option: str) -> str:
    return option.lstrip("-")


def _plain(option: str) -> str:
    """The name of an option without dashes and block: ``crop`` for ``--semantic.crop``."""
    return _without_dashes(option).rpartition(".")[2]


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if is_main_process():  # only one of several processes prints it
        print(f"srzoo: warning: {visible(str(message))}", file=sys.stderr)
