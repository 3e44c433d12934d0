"""Stages of work on many images that overlap on a GPU: one is written while the next are computed and read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_WRITERS = 4  # threads at most; compressing a label image and an overlay takes several times as long as a network


class InTurn:
    """Runs three stages for each of many images, and tells of each before the next begins.

    Args:
        tell: called with an image's key and its finished `Future`.
    """

    def __init__(self, tell: Callable[[Any, Future], None]):
        self.tell = tell

    def start(self, read: Callable[[], Any], compute: Callable[[Any], Any], write: Callable[[Any], Any]) -> Future:
        """Run ``write(compute(read()))``; nothing follows if ``read`` returns None."""
        return _attempt(_in_turn, read, compute, write)

    def add(self, key: Any, done: Future) -> None:
        """Let what was started be told of."""
        self.tell(key, done)


class Overlap(InTurn):
    """`InTurn`, but two stages run in threads, and images are told of in order when they are done.

    Args:
        compute: runs the second stage, of one image at a time.
        write: runs the third stage.
        most: number of images that may be under way.
        tell: as for `InTurn`, called in this thread in the order of `add`.
    """

    def __init__(
        self, compute: ThreadPoolExecutor, write: ThreadPoolExecutor, most: int, tell: Callable[[Any, Future], None]
    ):
        super().__init__(tell)
        self.compute, self.write, self.most = compute, write, most
        self._pending: deque[tuple[Any, Future]] = deque()

    def start(self, read: Callable[[], Any], compute: Callable[[Any], Any], write: Callable[[Any], Any]) -> Future:
        image = _attempt(read)
        if image.exception() is not None or image.result() is None:
            return image
        return self.write.submit(_finished, self.compute.submit(compute, image.result()), write)

    def add(self, key: Any, done: Future) -> None:
        """Let what was started be told of in its turn, and wait while too many images are under way."""
        self._pending.append((key, done))
        while self._pending and (len(self._pending) > self.most or self._pending[0][1].done()):
            self._tell_next()

    def finish(self) -> None:
        """Wait for all."""
        while self._pending:
            self._tell_next()

    def tell_written(self) -> None:
        """Tell of the images that were under way when an error ended the work, and were written all the same."""
        while self._pending:
            key, done = self._pending.popleft()
            if not done.cancelled() and done.exception() is None:
                self.tell(key, done)

    def _tell_next(self) -> None:
        key, done = self._pending[0]
        done.exception()  # waits; if Ctrl-C interrupts that, the image is still one to tell of
        self._pending.popleft()
        self.tell(key, done)


@contextmanager
def overlap(device_type: str, tell: Callable[[Any, Future], None]) -> Iterator[InTurn]:
    """Context manager of an `Overlap`, whose images are done at its end.

    On a CPU, whose cores the network keeps busy, it is an `InTurn`, so that one image is in memory.

    Args:
        device_type: of the network, such as "cuda".
        tell: as for `InTurn`.
    """
    if device_type == "cpu":
        yield InTurn(tell)
        return
    writers = max(1, min(_WRITERS, (os.cpu_count() or 1) - 1))
    compute, write = ThreadPoolExecutor(1), ThreadPoolExecutor(writers)
    work = Overlap(compute, write, writers + 1, tell)
    try:
        with compute, write:
            try:
                yield work
                work.finish()
            except BaseException:  # such as Ctrl-C: what has begun is finished, and nothing else is begun
                for pool in (write, compute):
                    pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BaseException:
        work.tell_written()
        raise


def _attempt(function: Callable, *arguments: Any) -> Future:
    """The outcome of a call."""
    done: Future = Future()
    try:
        done.set_result(function(*arguments))
    except Exception as error:
        # The frames of a traceback hold this one, and so the image, until the next garbage collection.
        done.set_exception(error if os.environ.get("SRZOO_TRACEBACK") == "1" else error.with_traceback(None))
    return done


def _in_turn(read: Callable[[], Any], compute: Callable[[Any], Any], write: Callable[[Any], Any]) -> Any:
    image = read()
    if image is None:
        return None
    result = compute(image)
    del image  # which may be large, and writing takes long
    return write(result)


def _finished(computed: Future, write: Callable[[Any], Any]) -> Any:
    try:
        return write(computed.result())
    finally:
        del computed  # whose error's traceback has this frame
