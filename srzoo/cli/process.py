"""The process of the program ``srzoo``: its streams, and the signals that end it."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Context manager in which SIGTERM and SIGHUP raise `Stopped`, so that temporary files and other processes end too.

    A second signal ends the process at once. Signals that are ignored, as by ``nohup``, or have a handler stay so, and
    outside of the main thread, which alone can have handlers, all does. Of several processes each waits for the others
    in PyTorch's code, which runs no handler: there, too, all stays as it is.
    """
    if world() > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == process:
            raise Stopped(number)
        os.kill(os.getpid(), number)  # a child, which has inherited the handler

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in numbers:
            signal.signal(number, end)
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
