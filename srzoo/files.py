"""Files that are written completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Context manager to write a file completely or not at all.

    Yields a temporary path in the same folder. If the block succeeds, the file written there replaces ``path``; if it
    fails, the temporary file is removed and ``path`` stays the same.

    Raises:
        OSError: the file cannot be put into its place, for example because the block has not written one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # some writers make files that only the owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
