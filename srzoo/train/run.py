"""The state of a run, and its checkpoint: what `Run.state` holds is all that a stopped run needs to go on."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import torch
from timm.utils import ModelEmaV3

from ..files import replacing
from .recipe import Recipe

CHECKPOINT = "checkpoint.pt"


@dataclass
class Interval:
    """What has been summed since the last line of the log."""

    loss: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0


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
            part.load_state_dict(state[name])
        self.step, self.interval, self.history = state["step"], Interval(**state["interval"]), state["history"]
        torch.set_rng_state(state["rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])


def write_checkpoint(run: Run, recipe: Recipe, out: Path) -> None:
    """Replace the checkpoint in ``out``, whole or not at all.

    Raises:
        FloatingPointError: a parameter is not finite; the checkpoint stays as it was.
    """
    broken = [name for name, value in run.model.named_parameters() if not value.isfinite().all()]
    if broken:
        raise FloatingPointError(
            f"{broken[0]} is not finite after step {run.step}, at learning rate {run.schedule.get_last_lr()[-1]:.2e}; "
            f"{out / CHECKPOINT} is from before it, try a lower rate"
        )
    with replacing(out / CHECKPOINT) as partial:
        torch.save({"recipe": dataclasses.asdict(recipe), **run.state()}, partial)


def read_checkpoint(out: Path, recipe: Recipe) -> dict | None:
    """The state in ``out``, or None where there is none yet.

    Raises:
        ValueError: it cannot be read, or is of another recipe.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        made_with = state["recipe"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no checkpoint of a run; give another output folder") from error
    wanted = dataclasses.asdict(recipe)
    changed = [key for key in wanted if made_with.get(key) != wanted[key]]
    if changed:
        raise ValueError(
            f"{path} was made with {changed[0]}={made_with.get(changed[0])!r}, the recipe has "
            f"{wanted[changed[0]]!r}; give another output folder, or the recipe it was made with"
        )
    return state
