"""The process of the program ``srzoo``: its streams, and the signals that end it."""

from __future__ import annotations

import io
import os
import signal
import sys

from ..evaluate.distributed import world
from ..train.stopping import Stopped

_SIGNALS = ("SIGTERM", "SIGHUP")  # besides Ctrl-C; the latter is not on Windows


def prepare_streams() -> None:
    """Let streams that are closed lead nowhere, and stdout escape the characters that its encoding lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # of the three in order, each gets its own number
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (until the process ends)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP raise `Stopped`, so that temporary files and other processes end with this one.

    A second signal ends it at once. Signals that are ignored, as by ``nohup``, stay so. Of several processes each
    waits for the others in PyTorch's code, which runs no handler: there all stays as it is.
    """
    process = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == process:
            raise Stopped(number)
        os.kill(os.getpid(), number)  # a child, which has inherited the handler

    for number in (getattr(signal, name, None) for name in _SIGNALS if world() == 1):
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)
