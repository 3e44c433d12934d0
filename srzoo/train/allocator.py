"""The C library's allocator, set for training on a CPU."""

import ctypes
import os
import sys

# Of malloc.h, with what mallopt(3) says they do.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_SETTINGS = {
    _M_MMAP_MAX: 0,  # large blocks come from the heap, too
    _M_TRIM_THRESHOLD: -1,  # which never shrinks
    _M_TOP_PAD: 64 << 20,  # and grows by so much
    _M_ARENA_MAX: 1,  # in the backward's thread as well
}


def keep_freed_memory() -> bool:
    """Make glibc keep what is freed for the next request, in this whole process from now on.

    A training step asks for the gigabyte that the last one freed. By default glibc gives every large block back to the
    kernel, and the zeroed pages that come in its place take a tenth of the step and more.

    Returns:
        Whether it was done: not without glibc, nor where the user set the allocator through ``MALLOC_*`` or
        ``GLIBC_TUNABLES``.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) for name, value in _SETTINGS.items())
