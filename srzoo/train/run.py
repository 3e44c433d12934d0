"""The state of a run, and its checkpoint: what `Run.state` holds is all that a stopped run needs to resume."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from timm.utils import ModelEmaV3

from ..data.samples import ImageData
from ..evaluate.distributed import rank, world
from ..files import replacing
from ..recipes.recipe import Recipe
from ..tasks.task import get_task

CHECKPOINT = "checkpoint.pt"


@dataclass
class Interval:
    """What has been summed since the last line of the log."""

    loss: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)  # those that ``loss`` is the sum of, by name


@dataclass
class Run:
    """A run after ``step`` optimiser steps.

    Attributes:
        model: as it is trained.
        average: its averaged weights, or None where the recipe has no average.
        history: one row per epoch done, as in ``log.csv``.
    """

    model: torch.nn.Module
    average: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    scaler: torch.amp.GradScaler | None = None
    step: int = 0
    interval: Interval = field(default_factory=Interval)
    history: list[dict] = field(default_factory=list)

    def check_finite(self, out: Path) -> None:
        """Call before writing anything.

        Raises:
            FloatingPointError: a parameter or a statistic is not finite.
        """
        named = [*self.model.named_parameters(), *self.result.named_parameters(), *self.result.named_buffers()]
        broken = [name for name, value in named if not value.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f"{broken[0]} is not finite after step {self.step}, at learning rate "
                f"{self.schedule.get_last_lr()[-1]:.2e}; {advice(out)}"
            )

    @property
    def result(self) -> torch.nn.Module:
        """The model that is evaluated and kept."""
        return self.model if self.average is None else self.average.module

    def _parts(self) -> dict:
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        parts.update({"average": self.average.module} if self.average else {})
        parts.update({"scaler": self.scaler} if self.scaler else {})
        return parts

    def state(self) -> dict:
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "step": self.step,
            "interval": dataclasses.asdict(self.interval),
            "history": self.history,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
        }

    def load(self, state: dict) -> None:
        for name, part in self._parts().items():
            if name in state:  # a run under precision "auto" may come from a machine where it needed no scaler
                part.load_state_dict(state[name])
        self.step, self.interval, self.history = state["step"], Interval(**state["interval"]), state["history"]
        if world() > 1:  # the state is that of the process which wrote it: this one needs its own
            torch.manual_seed(state["rng"].sum().item() + rank())
            return
        torch.set_rng_state(state["rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])


def advice(out: Path) -> str:
    """What to do about a run that blew up."""
    kept = f"{out / CHECKPOINT} is from before it; " if (out / CHECKPOINT).is_file() else ""
    return f"{kept}try a lower rate, in another output folder"


def write_checkpoint(run: Run, recipe: Recipe, data: ImageData, out: Path) -> None:
    """Replace the checkpoint in ``out``, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = {"recipe": recipe.to_dict(), "data": data.identity(), **run.state()}
    try:
        with replacing(out / CHECKPOINT) as partial:
            torch.save(content, partial)
    except (RuntimeError, OSError) as error:  # PyTorch's writer has its own words for a full disk
        raise OSError(
            f"cannot write {out / CHECKPOINT}, {shutil.disk_usage(out).free:,} bytes are free "
            f"({str(error).splitlines()[0]}); with room for it the same command resumes from the last checkpoint"
        ) from error


def read_checkpoint(out: Path, recipe: Recipe, data: ImageData) -> dict | None:
    """The state in ``out``, or None where there is none yet.

    Raises:
        ValueError: it is unreadable, or belongs to another recipe or to other data.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about the keys of the first version
            made_with = Recipe.from_dict(state["recipe"]).flat()  # older ones have fewer keys
        made_on = state["data"]
        headline = get_task(recipe.task).headline
        for row in state["history"]:
            if "miou" in row:  # until version 0.1
                row[headline] = row.pop("miou")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no checkpoint of a run; give another output folder") from error
    wanted = recipe.flat()
    changed = [key for key in wanted if made_with.get(key) != wanted[key]]
    if changed:
        raise ValueError(
            f"{path} was made with {changed[0]}={made_with.get(changed[0])!r}, the recipe has "
            f"{wanted[changed[0]]!r}; give another output folder, or the recipe it was made with"
        )
    given = data.identity()
    changed = [key for key in given if made_on.get(key, given[key]) != given[key]]  # older ones say less
    if changed:
        names = {"classes": "its classes", "images": "the number of its images", "id_map": "the ids of its masks"}
        what = names.get(changed[0], "its images' names")
        raise ValueError(f"{path} was made with other data, {what} differ; give another output folder")
    return state
