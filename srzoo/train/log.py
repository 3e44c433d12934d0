"""The log of a run: ``log.csv``, TensorBoard, one line per epoch, and the services of Accelerate's trackers."""

import csv
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from torch.utils.tensorboard import SummaryWriter

from ..files import replacing
from ..messages import nearest


def checked_trackers(names: Sequence[str]) -> list[str]:
    """The names of Accelerate's trackers, each of whose package is installed.

    Raises:
        ValueError: one is unknown or not installed.
    """
    known = sorted(str(getattr(name, "value", name)) for name in LOGGER_TYPE_TO_CLASS)
    available = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    for name in names:
        if name not in known:
            raise ValueError(f"trackers: unknown {name!r}{nearest(name, known)}; known: {', '.join(known)}")
        if name not in available:
            raise ValueError(f"trackers: {name} is not installed; pip install {name}, or leave it out")
    return list(names)


def write_csv(history: list[dict], path: Path) -> None:
    """Write all rows to ``path``, completely or not at all; a row may lack some of the columns."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        columns = dict.fromkeys(name for row in history for name in row)
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def write_tensorboard(rows: list[dict], folder: Path) -> None:
    """Append the values of ``rows`` to the events in ``folder``, each at the ``step`` of its row."""
    with _raised_only(), SummaryWriter(folder) as writer:
        for row in rows:
            for name, value in row.items():
                if name != "step" and value is not None:
                    writer.add_scalar(name, value, row["step"])


@contextmanager
def _raised_only() -> Iterator[None]:
    """Context manager for TensorBoard, whose thread prints the traceback of an error that it also raises later."""
    usual = threading.excepthook
    threading.excepthook = lambda found: None if issubclass(found.exc_type, OSError) else usual(found)
    try:
        yield
    finally:
        threading.excepthook = usual


def line(row: dict, headline: str, epochs: int) -> str:
    """One row of the log as a sentence, with the headline figure if it was measured in this epoch."""
    figure = "" if row[headline] is None else f", val {headline} {row[headline]:.2%}"
    advice = "; try more workers" if row["data_wait"] > 0.05 else ""
    waiting = f"({row['data_wait']:.1%} of it waiting for data{advice})"
    return f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.4f}{figure}, {row['seconds']:.0f} s {waiting}"
