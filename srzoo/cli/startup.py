"""The start of a command: quick where it needs torch, and in one of several processes or in all of them."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import torch and timm without the garbage collector.

    They make a million objects that live to the end. The collector's passes over them while they come, and once more
    when the process exits, are a third of a cold start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def is_main_process() -> bool:
    """Whether this is the process, of those that a launcher started, that speaks; torch need not be there yet."""
    return int(os.environ.get("RANK", 0)) == 0
