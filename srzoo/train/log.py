"""What a run says about itself: ``log.csv``, TensorBoard, and one line an epoch."""

import csv
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ..files import replacing


def write_csv(history: list[dict], path: Path) -> None:
    """All rows, whole or not at all."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows(history)


def write_tensorboard(rows: list[dict], folder: Path) -> None:
    """Add rows to the events in ``folder``."""
    with SummaryWriter(folder) as writer:
        for row in rows:
            for name, value in row.items():
                if name != "step" and value is not None:
                    writer.add_scalar(name, value, row["step"])


def line(row: dict, epochs: int) -> str:
    """A row for people."""
    miou = "" if row["miou"] is None else f", val mIoU {row['miou']:.4f}"
    waiting = f"({row['data_wait']:.1%} of it waiting for data{'; more --workers?' if row['data_wait'] > 0.05 else ''})"
    return f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.4f}{miou}, {row['seconds']:.0f} s {waiting}"
