"""Repeating a compiled kernel's launch without what Triton does to find it."""

from collections.abc import Callable

import triton

try:
    from triton import knobs
except ImportError:  # before Triton 3.4
    knobs = None

# The versions whose launcher is known to take the arguments of `repeated`; others are launched by their own `runner`.
_IS_KNOWN = knobs is not None and (3, 4) <= tuple(map(int, triton.__version__.split(".")[:2])) <= (3, 8)


def is_watched() -> bool:
    """Whether a profiler wants to hear of launches, or may, as far as is known."""
    if not _IS_KNOWN:
        return True
    runtime = knobs.runtime
    for hook in (runtime.launch_enter_hook, runtime.launch_exit_hook):
        if hook is not None and getattr(hook, "calls", True):
            return True
    return False


def repeated(compiled, grid: tuple[int, int, int]) -> tuple[Callable, Callable]:
    """Two functions of ``(stream, arguments)`` that launch ``compiled``: one that tells profilers, and a faster one."""
    runner = compiled[grid]

    def watched(stream, arguments) -> None:
        runner(*arguments, stream=stream)

    if not _IS_KNOWN:
        return watched, watched
    run, function, packed = compiled.run, compiled.function, compiled.packed_metadata

    def unwatched(stream, arguments) -> None:
        run(*grid, stream, function, packed, None, None, None, *arguments)

    return watched, unwatched
