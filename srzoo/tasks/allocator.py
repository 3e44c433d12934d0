"""The C library's allocator: its settings for the commands that run a network on a CPU, and freed memory."""

from __future__ import annotations

import ctypes
import os
import sys

# Names and numbers are those of malloc.h; mallopt(3) describes them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_SETTINGS = {
    _M_MMAP_MAX: 0,  # take large blocks from the heap, too (older versions bound M_MMAP_THRESHOLD to 32 MiB)
    _M_TRIM_THRESHOLD: -1,  # never shrink the heap
    _M_TOP_PAD: 64 << 20,  # grow it by 64 MiB at a time
    _M_ARENA_MAX: 1,  # use the same heap in the thread of the backward pass
}

_TRIM_EVERY = 50  # images, so that faulting the pages in again costs little


def keep_freed_memory(device: str = "cpu") -> bool:
    """Make glibc reuse freed memory instead of returning it to the kernel, for the rest of a process on a CPU.

    A training step allocates the gigabyte that the step before it has freed, and a network its features of 36 MiB in
    each image. By default glibc returns every large block to the kernel, which takes a tenth of the time or more, since
    the kernel zeroes every page that it hands out again. It is for processes of srzoo's own, the commands: in others
    the ``MALLOC_*`` variables do the same.

    Args:
        device: type of the device that the network runs on. For a GPU nothing is set.

    Returns:
        True if the settings were made. False for a GPU, without glibc, or if the user has set the allocator through
        ``MALLOC_*`` or ``GLIBC_TUNABLES``.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if device != "cpu" or chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) for name, value in _SETTINGS.items())


def return_freed_memory(images: int) -> None:
    """Give the memory between blocks back to the kernel after every 50 images, where `keep_freed_memory` kept it.

    Images of many sizes leave holes of many sizes in a heap that never shrinks: it grew on and on in a long folder.

    Args:
        images: number of images that are done.
    """
    if images % _TRIM_EVERY == 0:
        trim()


def trim() -> None:
    """Give freed memory back to the kernel now, where there is glibc."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if malloc_trim is not None:
        malloc_trim(0)
