"""The log of a run: ``log.csv``, TensorBoard, and one line per epoch."""

import csv
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ..files import replacing


def write_csv(history: list[dict], path: Path) -> None:
    """Write all rows to ``path``, completely or not at all; a row may lack some of the columns."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        columns = dict.fromkeys(name for row in history for name in row)
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def write_tensorboard(rows: list[dict], folder: Path) -> None:
    """Append the values of ``rows`` to the events in ``folder``, each at the ``step`` of its row."""
    with SummaryWriter(folder) as writer:
        for row in rows:
            for name, value in row.items():
                if name != "step" and value is not None:
                    writer.add_scalar(name, value, row["step"])


def line(row: dict, headline: str, epochs: int) -> str:
    """One row of the log as a sentence, with the headline figure if it was measured in this epoch."""
    figure = "" if row[headline] is None else f", val {headline} {row[headline]:.4f}"
    waiting = f"({row['data_wait']:.1%} of it waiting for data{'; try --workers' if row['data_wait'] > 0.05 else ''})"
    return f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.4f}{figure}, {row['seconds']:.0f} s {waiting}"
