"""Files that are written completely or not at all, their names, and locks between processes."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: files are not locked there
    fcntl = None

_ENDING = ".partial"  # of the folder that a file is written in
_LOCK = ".srzoo-lock"  # in such a folder; another process can tell by it whether the writer still lives
_LONGEST = 200  # bytes of a name: with an ending or a number, those of temporary files too, a file system allows 255
_umask_lock = threading.Lock()
_FORMER = re.compile(r"\..+\.\d+\.partial")  # a file that version 0.1 wrote in place of such a folder


class LockedError(OSError):
    """Raised by `locked` when another process has the lock."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Context manager to write a file completely or not at all.

    Yields the path of a file to write, of the same name, in a new folder beside ``path`` that only this user can open.
    If the block succeeds, the file is synced to the disk and replaces ``path``; if it fails, ``path`` stays the same.
    A killed process leaves its folder, which `remove_leftovers` recognizes.

    Raises:
        OSError: the file cannot be written or put into its place, for example because the block has not written one.
            The error names ``path``.
    """
    path = Path(path)
    folder = None
    try:
        with ExitStack() as stack:
            folder = _locked_folder(path.parent, stack)
            temporary = Path(folder, path.name)
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # some writers make files that only the owner can read
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
    except OSError as error:
        if error.errno is None or not (folder is None or _is_within(error.filename, folder)):
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    """The permissions that new files do not get, which can be read only by setting them, for the whole process."""
    with _umask_lock:
        umask = os.umask(0)
        os.umask(umask)
    return umask


def _locked_folder(parent: Path, stack: ExitStack) -> str:
    """Make a folder with a lock in it, until the stack is left."""
    while True:
        folder = tempfile.mkdtemp(prefix=".", suffix=_ENDING, dir=parent)
        try:
            stack.enter_context(locked(Path(folder, _LOCK)))
            return str(Path(folder))  # as paths in it begin, without "./"
        except FileNotFoundError:  # `remove_leftovers` has come between the two
            pass


def _is_within(name: object, folder: str) -> bool:
    """Whether an error is of a file in a folder; a write to an open file has no name in its error."""
    return name is None or os.fspath(name).startswith(folder)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that a power cut leaves no empty file under its name."""
    if path.is_dir() and os.name == "nt":  # cannot be opened there
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a file system that has no such thing
            raise
    finally:
        os.close(file)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Context manager that one process at a time is in.

    The lock ends with the process, however that ends, and processes that it forks do not have it. Where the system or
    the file system has no locks, this does nothing.

    Args:
        path: the file of the lock. It exists only as long as the lock, unless the process is killed.
        wait: whether to wait for another process, instead of raising an error.

    Raises:
        LockedError: another process has the lock, and ``wait`` is False.
        OSError: the file cannot be made.
    """
    if fcntl is None:
        yield
        return
    file = _locked_file(path, wait)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _locked_file(path: Path, wait: bool) -> int:
    """Open and lock a file. If the process that had the lock removes it between the two, it is made anew."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                os.close(file)
                raise LockedError(f"another process has locked {path}") from error
            return file  # no locks on this file system
        try:
            if os.path.samestat(os.stat(path), os.fstat(file)):
                return file
        except FileNotFoundError:
            pass
        os.close(file)


def composed(name: str) -> str:
    """A name with each accented letter as one character: a Mac's file systems keep letter and accent apart."""
    return unicodedata.normalize("NFC", name)


def fitting(name: str) -> str:
    """The name of a file without its ending, cut off where it is too long to get another ending or a number."""
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return name


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Context manager that makes a folder and its parents. At its end those of them that are empty are removed again.

    Raises:
        OSError: it cannot be made.
    """
    new = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in new:
            with suppress(OSError):  # it is not empty
                each.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes, also of version 0.1, have left of files that they were writing to a folder."""
    for path in folder.glob(f".*{_ENDING}"):
        if path.is_symlink() or not path.is_dir():
            if _FORMER.fullmatch(path.name):
                path.unlink(missing_ok=True)
        elif (path / _LOCK).exists():
            try:
                with locked(path / _LOCK, wait=False):
                    shutil.rmtree(path, ignore_errors=True)
            except LockedError:  # its writer lives
                pass
        else:
            with suppress(OSError):  # it is not empty, and so not one of these
                path.rmdir()
    for path in folder.glob(".tmp??????"):  # safetensors' own, beside the file of version 0.1
        if path.is_file() and not path.is_symlink() and _starts_like_tensors(path):
            path.unlink()


def _starts_like_tensors(path: Path) -> bool:
    """Whether a file begins as safetensors files do: a length in eight bytes, then JSON; or is empty as yet."""
    with path.open("rb") as file:
        return file.read(9)[8:] in (b"", b"{")
