"""Signals that end a run: the step is finished and a checkpoint written first."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ..evaluate.distributed import is_main_process, world

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one is not on Windows
_PATIENCE_S = 60.0  # with another process of the run that does not answer, after a signal


class Stopped(KeyboardInterrupt):
    """Raised by a run that a signal ends.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int):
        super().__init__()
        self.signal = number


class Stop:
    """Context manager that notes SIGINT, SIGTERM and SIGHUP instead of ending the process at once.

    A second signal raises `Stopped` wherever the process is, and further ones do nothing. Outside of the main thread,
    which alone can have handlers, all stays as it is, and so do signals that are ignored, as by ``nohup``.

    A process that waits for another one of its run, in PyTorch's code, runs no handler. If the other is stopped, a
    signal ends this one after a minute, or after twice the time of the longest step.

    Attributes:
        signal: number of the first signal; None before it.
    """

    def __init__(self):
        self.signal: int | None = None
        self._count, self._at_once, self._process = 0, False, os.getpid()
        self._former: dict[int, object] = {}
        self._has_ended, self._longest, self._checked = threading.Event(), 0.0, time.monotonic()
        self._wakes: socket.socket | None = None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._former[number] = signal.signal(number, self._note)
            if self._former and world() > 1:
                self._watch()
        return self

    def __exit__(self, *_) -> None:
        self._has_ended.set()
        if self._wakes is not None:
            signal.set_wakeup_fd(-1)
            self._wakes.close()
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `Stopped` if a signal has come. Of several processes only the main one does, which writes the files.

        The others go on until it has done its step, which needs them, and fail when it is gone.
        """
        now = time.monotonic()
        self._longest, self._checked = max(self._longest, now - self._checked), now
        if self.signal is not None and is_main_process():
            self._raise()

    @staticmethod
    def outlive(worker: int) -> None:
        """Ignore the signals, as the ``worker_init_fn`` of a `torch.utils.data.DataLoader`.

        A terminal and torchrun send them to every process of a run, and the main one needs the images of the step that
        it finishes. It ends the others itself.
        """
        for name in _SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Context manager in which a signal raises `Stopped` at once, for what can take long and changes no state."""
        self.check()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _watch(self) -> None:
        """Look out for signals in a thread, which Python tells of them also while the main thread waits."""
        woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        former = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        if former == -1:
            threading.Thread(target=self._end_if_stuck, args=(woken,), daemon=True).start()
        else:  # of another library
            signal.set_wakeup_fd(former)
            self._wakes.close()
            self._wakes = None

    def _end_if_stuck(self, woken: socket.socket) -> None:
        """End the process if no step ends for long after a signal; ``woken`` gets the number of each."""
        with woken:  # until the end, as each signal is sent to it
            while (received := woken.recv(1)) and received[0] not in self._former:
                pass
            patience = max(_PATIENCE_S, 2 * self._longest)
            while received and not self._has_ended.wait(patience):
                if time.monotonic() - self._checked < patience:  # it goes on with the others
                    continue
                name = signal.Signals(received[0]).name
                print(
                    f"srzoo: ended by {name}; another process of the run has not answered for {patience:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(128 + received[0])

    def _note(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:  # a child, which has inherited the handler
            raise KeyboardInterrupt
        self._count += 1
        if self.signal is None:
            self.signal = number
        if self._count == 2 or (self._count == 1 and self._at_once and is_main_process()):
            self._raise()

    def _raise(self) -> NoReturn:
        """Raise `Stopped`; the main thread is not stuck then, however long it writes its checkpoint."""
        self._has_ended.set()
        raise Stopped(self.signal)
