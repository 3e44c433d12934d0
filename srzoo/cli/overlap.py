"""Stages of work on many images that overlap on a GPU: one is written while the next are computed and read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_WRITERS = 4  # threads at most; compressing a label image and an overlay takes several times as long as a network


class Overlap:
    """Runs three stages for each of many images, two of them in threads or at once, and tells of them in order.

    Args:
        compute: runs the second stage, of one image at a time.
        write: runs the third stage.
        most: number of images that may be under way.
        tell: called in this thread with an image's key and its finished `Future`, in the order of `add`.
    """

    def __init__(self, compute: Executor, write: Executor, most: int, tell: Callable[[Any, Future], None]):
        self.compute, self.write, self.most, self.tell = compute, write, most, tell
        self._pending: deque[tuple[Any, Future]] = deque()

    def start(self, read: Callable[[], Any], compute: Callable[[Any], Any], write: Callable[[Any], Any]) -> Future:
        """Begin ``write(compute(read()))``, of which ``read`` runs at once and here; nothing follows if it is None."""
        image = AtOnce().submit(read)
        if image.exception() is not None or image.result() is None:
            return image
        computed = self.compute.submit(compute, image.result())
        return self.write.submit(lambda: write(computed.result()))

    def add(self, key: Any, done: Future) -> None:
        """Let what was started be told of in its turn, and wait while too many images are under way."""
        self._pending.append((key, done))
        while self._pending and (len(self._pending) > self.most or self._pending[0][1].done()):
            self._tell_next()

    def finish(self) -> None:
        """Wait for all."""
        while self._pending:
            self._tell_next()

    def _tell_next(self) -> None:
        key, done = self._pending.popleft()
        done.exception()  # waits
        self.tell(key, done)


class AtOnce(Executor):
    """Runs what is submitted at once, in the thread that submits it."""

    def submit(self, function: Callable, /, *arguments: Any, **options: Any) -> Future:
        done: Future = Future()
        try:
            done.set_result(function(*arguments, **options))
        except Exception as error:
            done.set_exception(error)
        return done


@contextmanager
def overlap(device_type: str, tell: Callable[[Any, Future], None]) -> Iterator[Overlap]:
    """Context manager of an `Overlap`, whose images are done at its end.

    On a CPU, whose cores the network keeps busy, every stage runs at once, so that one image is in memory.

    Args:
        device_type: of the network, such as "cuda".
        tell: as for `Overlap`.
    """
    if device_type == "cpu":
        yield Overlap(AtOnce(), AtOnce(), 0, tell)
        return
    writers = max(1, min(_WRITERS, (os.cpu_count() or 1) - 1))
    with ThreadPoolExecutor(1) as compute, ThreadPoolExecutor(writers) as write:
        work = Overlap(compute, write, writers + 1, tell)
        try:
            yield work
            work.finish()
        except BaseException:  # such as Ctrl-C: what has begun is finished, and nothing else is begun
            compute.shutdown(cancel_futures=True)
            write.shutdown(cancel_futures=True)
            raise
