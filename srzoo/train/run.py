"""The state of a run, and its checkpoint. `Run.state` holds all that a stopped run needs to resume."""

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
from ..messages import one_line
from ..recipes.recipe import Recipe
from ..tasks.task import get_task

CHECKPOINT = "checkpoint.pt"


@dataclass
class Interval:
    """Sums over the steps since the last row of the log.

    Attributes:
        loss: sum of the losses.
        steps: number of steps.
        seconds: time of these steps.
        wait_seconds: the part of it in which a step waited for data.
        losses: sums of the terms that add up to ``loss``, by name.
    """

    loss: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)


@dataclass
class Run:
    """A run after ``step`` optimizer steps.

    Attributes:
        model: the model with the trained weights.
        average: the model with the averaged weights, or None if the recipe has no average.
        optimizer: of the model's parameters.
        schedule: of the optimizer's learning rate.
        scaler: of the fp16 gradients; None in other precisions.
        step: number of optimizer steps done.
        interval: sums since the last row of ``history``.
        history: one row per finished epoch, as in ``log.csv``.
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
        """Check the weights before anything is written.

        Args:
            out: folder of the run, for the message.

        Raises:
            FloatingPointError: a parameter or a running statistic is not finite.
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
        """The model that is evaluated and saved: the average, if there is one."""
        return self.model if self.average is None else self.average.module

    def _parts(self) -> dict:
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        parts.update({"average": self.average.module} if self.average else {})
        parts.update({"scaler": self.scaler} if self.scaler else {})
        return parts

    def state(self) -> dict:
        """All that a stopped run needs to resume, as `load` takes it.

        Returns:
            The state dicts of the model, its average, the optimizer, the schedule and the scaler, as far as there are
            such; ``step``, ``interval`` and ``history``; and the states of PyTorch's random generators on the CPU
            ("rng") and on each GPU ("cuda_rng"). Tensors and plain values only.
        """
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "step": self.step,
            "interval": dataclasses.asdict(self.interval),
            "history": self.history,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
        }

    def load(self, state: dict) -> None:
        """Set the run, and PyTorch's random generators, to what `state` returned.

        Args:
            state: of a run of the same recipe. With several processes each seeds its CPU generator anew from it.

        Raises:
            KeyError: an entry is missing.
            RuntimeError: the tensors do not fit the model.
        """
        for name, part in self._parts().items():
            if name in state:  # with precision "auto" it may come from a machine that needs no scaler
                part.load_state_dict(state[name])
        self.step, self.interval, self.history = state["step"], Interval(**state["interval"]), state["history"]
        if world() > 1:  # the state is that of one process, and each needs random numbers of its own
            torch.manual_seed(state["rng"].sum().item() + rank())
            return
        torch.set_rng_state(state["rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])


def advice(out: Path) -> str:
    """What to do about a run that diverged, for an error message."""
    kept = f"{out / CHECKPOINT} holds an earlier step; " if (out / CHECKPOINT).is_file() else ""
    return f"{kept}try a lower learning rate, in another output folder"


def write_checkpoint(run: Run, recipe: Recipe, data: ImageData, out: Path) -> None:
    """Replace the checkpoint in ``out``, completely or not at all.

    Args:
        run: the state to write.
        recipe, data: what the run trains by and on; `read_checkpoint` compares them.
        out: the folder, which exists.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    content = {"recipe": recipe.to_dict(), "data": data.identity(), **run.state()}
    try:
        with replacing(out / CHECKPOINT) as partial:
            torch.save(content, partial)
    except (RuntimeError, OSError) as error:  # a RuntimeError is PyTorch's way to report a full disk
        raise OSError(
            f"cannot write {out / CHECKPOINT}: {shutil.disk_usage(out).free:,} bytes are free "
            f"({one_line(error)}); free more space, and the same command resumes from the last checkpoint"
        ) from error


def read_checkpoint(out: Path, recipe: Recipe, data: ImageData) -> dict | None:
    """The state that `write_checkpoint` wrote to ``out``, on the CPU; None if there is no checkpoint.

    Raises:
        ValueError: the checkpoint cannot be read, or belongs to another recipe or to other data.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about the old names of recipe keys
            made_with = Recipe.from_dict(state["recipe"]).flat()  # without keys that are newer than it
        made_on = state["data"]
        headline = get_task(recipe.task).headline
        for row in state["history"]:
            if "miou" in row:  # written by version 0.1
                row[headline] = row.pop("miou")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a checkpoint of a run; choose another output folder") from error
    wanted = recipe.flat()
    changed = [key for key in wanted if made_with.get(key) != wanted[key]]
    if changed:
        raise ValueError(
            f"{path} was made with {changed[0]}={made_with.get(changed[0])!r}, but the recipe has "
            f"{wanted[changed[0]]!r}; choose another output folder, or use the recipe of the checkpoint"
        )
    given = data.identity()
    changed = [key for key in given if made_on.get(key, given[key]) != given[key]]  # as far as it holds them
    if changed:
        names = {"classes": "classes", "images": "number of images", "id_map": "ids of the masks"}
        what = names.get(changed[0], "names of the images")
        raise ValueError(f"{path} was made with other data (different {what}); choose another output folder")
    return state
