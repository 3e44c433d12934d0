"""What libraries say about an image without its name, such as libtiff and Pillow of a damaged file."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..messages import visible

_WARNING = "srzoo: warning: "
_MOST = 1 << 16  # bytes that are told of one image


@contextmanager
def library_lines(name: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Context manager that names the image in every line that is printed on stderr.

    Args:
        name: of the image.
        tell: prints a line.
    """
    if sys.stderr is None:  # the process was started without it
        yield
        return
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (used in the block below)
        kept = os.dup(2)
    except OSError:  # there is no folder for temporary files
        yield
        return
    with file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in dict.fromkeys(file.read(_MOST).decode("utf-8", "replace").splitlines()):
                if line.strip():
                    tell(line if name in line else f"{_WARNING}{name}: {visible(line.removeprefix(_WARNING))}")
