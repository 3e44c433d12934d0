"""The command ``srzoo``. Each command is a module that imports what it needs when it runs."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import NoReturn

from ..messages import one_line
from . import convert, data, evaluate, info, listing, segment, train

_COMMANDS = {
    "segment": segment,
    "list": listing,
    "info": info,
    "data": data,
    "train": train,
    "eval": evaluate,
    "convert": convert,
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 for bad input, with one line on stderr that says what."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _Parser(prog="srzoo", description="Semantic segmentation with Squeeze Reasoning (SRNet).")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        summary = module.__doc__.splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in arguments:  # `srzoo --help` need not know the others' options
            module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    warnings.showwarning = _show_warning
    try:
        return options.run(options)
    except KeyboardInterrupt as error:
        print(f"srzoo: interrupted{f'; {error}' if str(error) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, e.g. `srzoo list | head`
        sys.stderr.close()
        return 0
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        print(f"srzoo: {one_line(error)}", file=sys.stderr)
        return 2
    except MemoryError:
        print("srzoo: not enough memory; take smaller images, crops, batches or scales", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others; argparse puts the usage before them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"srzoo: {message}; `{self.prog} --help` shows the options\n")


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if int(os.environ.get("RANK", 0)) == 0:  # one of several processes says it
        print(f"srzoo: warning: {message}", file=sys.stderr)
