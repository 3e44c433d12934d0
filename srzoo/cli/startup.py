"""A quick start for the commands that need torch."""

import gc
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
