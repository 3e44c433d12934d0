"""Failures of the machine, told as what they are: a killed process, a full disk, a lost connection."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..evaluate.distributed import world
from ..messages import one_line

CHECKPOINT = "checkpoint.pt"
# What the errors of gloo, NCCL and sockets say when a process at the other end is gone.
_LOST = ("Connection closed by peer", "Connection reset", "Broken pipe", "gloo", "Gloo", "NCCL", "ProcessGroup")


def goes_on(out: Path) -> str:
    """What the same command does after a failure of the run in a folder."""
    is_kept = (out / CHECKPOINT).is_file()
    return "the same command " + (
        "resumes from the last checkpoint" if is_kept else "starts again, as there is no checkpoint yet"
    )


@contextmanager
def explained(out: Path, workers: int) -> Iterator[None]:
    """Context manager that explains errors which other processes have caused.

    PyTorch raises the error for a killed process wherever the program is at that moment, so any other error can be
    chained to it.

    Args:
        out: the folder of the run.
        workers: number of processes that load images.

    Raises:
        RuntimeError: a process that loads images, or another one of the run, was killed.
    """
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:
        texts = [str(each) for each in _chain(error)]
        if reason := _explanation(texts, workers):
            raise RuntimeError(f"{reason}; {goes_on(out)}") from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while handling."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _explanation(texts: list[str], workers: int) -> str:
    """Why a run failed if another process is the cause, by the texts of its errors; else empty."""
    died = next((text for text in texts if "DataLoader worker (pid" in text), "")
    if "Bus error" in died or any("shared memory" in text and "DataLoader" not in text for text in texts):
        return "there is not enough shared memory (/dev/shm) for the processes that load images; use 0 workers"
    if died:
        how = died.partition("killed by signal: ")[2].partition(".")[0].strip()
        return (
            f"a process that loads images was {f'killed (signal {how})' if how else 'ended'}, perhaps as memory ran "
            f"out; use fewer workers than {workers}, or 0"
        )
    if world() > 1 and any(word in text for text in texts for word in _LOST):
        return "the connection to another process of the run was lost, see the message of that one"
    return ""


def not_written(path: Path, error: Exception, size: int) -> OSError:
    """The error for a file of a run that cannot be written, with the reason and what to do.

    Args:
        path: the file.
        error: what was raised. PyTorch reports a full disk as RuntimeError without the reason.
        size: bytes of the file, about.
    """
    if not path.parent.is_dir():
        return OSError(f"cannot write {path}: its folder is gone; {goes_on(path.parent)}")
    number, free = getattr(error, "errno", None), shutil.disk_usage(path.parent).free
    is_full = free < size or number == errno.ENOSPC or "os error 28" in str(error)
    files = getattr(os, "statvfs", lambda _: None)(path.parent)
    if is_full and free >= size and files is not None and not files.f_favail:
        reason, advice = f"the disk has no room for more files, with {free:,} bytes free", "remove some"
    elif is_full:
        reason, advice = f"{free:,} bytes are free", "free more space"
    elif isinstance(error, RuntimeError) or number == errno.EFBIG or "os error 27" in str(error):
        reason, advice = f"{free:,} bytes are free, so perhaps a quota or a limit of file sizes", "raise it"
    else:
        reason, advice = "", "remove the cause"
    said = one_line(error.__cause__ if isinstance(error, OSError) and number is None and error.__cause__ else error)
    what = f": {reason} ({said})" if reason else f" ({getattr(error, 'strerror', None) or said})"
    return OSError(f"cannot write {path}{what}; {advice}, and {goes_on(path.parent)}")
