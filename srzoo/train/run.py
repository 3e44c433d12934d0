"""The state of a run, and its checkpoint. `Run.state` holds all that a stopped run needs to resume."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3

from ..data.samples import ImageData
from ..evaluate.distributed import rank, world
from ..files import replacing
from ..messages import shortened
from ..recipes.recipe import Recipe
from ..state_dicts import load_checked, misfit, not_finite, reason
from ..tasks.task import get_task
from ..untrusted.values import Value
from ..zoo.run_files import RUN_FILES
from .failures import CHECKPOINT, not_written


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
            ValueError: a part is missing, does not fit the model, or holds values that are not finite.
        """
        for name, part in self._parts().items():
            if name not in state:
                if name == "scaler":  # with precision "auto" it may come from a machine that needs no scaler
                    continue
                raise ValueError(f"it lacks {name}")
            self._load_part(name, part, state[name])
        self.step, self.interval, self.history = state["step"], Interval(**state["interval"]), state["history"]
        if world() > 1:  # the state is that of one process, and each needs random numbers of its own
            torch.manual_seed(state["rng"].sum().item() + rank())
            return
        torch.set_rng_state(state["rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def check_parts(self) -> None:
        """Check that the parts of a loaded state are of the same step.

        Raises:
            ValueError: they contradict each other, and the run would train to other weights without a word.
        """
        if self.schedule.last_epoch != self.step:
            raise ValueError(f"its schedule is at step {self.schedule.last_epoch}, the run at {self.step}")
        keeps = any(group.get("momentum", 1) for group in self.optimizer.param_groups)
        # With a scaler the first steps may all be skipped.
        if self.step and keeps and not self.optimizer.state and self.scaler is None:
            raise ValueError(f"its optimizer has no moments after {self.step} steps")

    def _load_part(self, name: str, part: Any, found: Any) -> None:
        if isinstance(part, torch.nn.Module):
            if not isinstance(found, dict) or not all(isinstance(each, torch.Tensor) for each in found.values()):
                raise ValueError(f"{name} is no state dict of tensors")
            own = part.state_dict()
            if problem := misfit(found, own) or _of_another_type(found, own):
                raise ValueError(f"{name} {problem}")
            if broken := not_finite(found):
                raise ValueError(f"{name}.{broken} has values that are not finite")
            part.load_state_dict(found)
        elif isinstance(part, torch.optim.Optimizer):
            part.load_state_dict(_of_optimizer(part, Value(found, "the state", name)))
        else:
            fresh = part.state_dict()
            of_recipe = {key: value for key, value in fresh.items() if key == "base_lrs"}
            part.load_state_dict({**_alike(Value(found, "the state", name), fresh), **of_recipe})


def _of_another_type(found: dict, wanted: dict) -> str:
    """The first tensor of another dtype than is wanted, for a message; empty if there is none."""
    for key, value in wanted.items():
        if found[key].dtype != value.dtype:
            return f"has {key} of {found[key].dtype} instead of {value.dtype}"
    return ""


def _of_optimizer(optimizer: torch.optim.Optimizer, found: Value) -> dict:
    """The state dict of an optimizer, after a check against its parameters.

    Raises:
        ValueError: another number of groups or of parameters, or a tensor of another shape or that is not finite.
    """
    groups = found["param_groups"].items(len(optimizer.param_groups), len(optimizer.param_groups))
    fresh = optimizer.state_dict()["param_groups"]
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state = found["state"]
    if not isinstance(state.found, dict):
        state.fail("a mapping")
    for index, values in state.found.items():
        if not isinstance(index, int) or not 0 <= index < len(parameters):
            state.fail(f"a mapping from the numbers 0 to {len(parameters) - 1}")
        kept = Value(values, state.where, f"{state.key}[{index}]")
        for name in _MOMENTS[type(optimizer)]:
            _check_moment(kept[name], parameters[index].shape if name != "step" else torch.Size())
    # All but the present rate follows from the recipe, which is the same.
    rates = [group["lr"].number(0, own["initial_lr"]) for group, own in zip(groups, fresh)]
    return {"state": state.found, "param_groups": [{**own, "lr": rate} for own, rate in zip(fresh, rates)]}


# What each optimizer keeps for a parameter. SGD without momentum keeps None.
_MOMENTS = {torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"), torch.optim.SGD: ("momentum_buffer",)}


def _check_moment(value: Value, shape: torch.Size) -> None:
    """Check a tensor that an optimizer keeps for a parameter."""
    found = value.found
    if found is None and value.key.endswith("momentum_buffer"):
        return
    if not isinstance(found, torch.Tensor) or not found.is_floating_point():
        value.fail("a floating tensor")
    if found.shape != shape:
        raise ValueError(f"{value.key} has the shape {tuple(found.shape)} instead of {tuple(shape)}")
    if not_finite({"": found}) is not None:
        raise ValueError(f"{value.key} has values that are not finite")


def _alike(found: Value, fresh: Any) -> Any:
    """A value of the same types as a fresh one, whose keys it takes where it has none; keys of its own are left out.

    Versions of PyTorch differ in the keys.

    Raises:
        ValueError: a value has another type, or a list another length.
    """
    if isinstance(fresh, dict):
        own = found.keys()
        return {key: _alike(own[key], value) if key in own else value for key, value in fresh.items()}
    if isinstance(fresh, (list, tuple)):
        return type(fresh)(_alike(*pair) for pair in zip(found.items(len(fresh), len(fresh)), fresh))
    if isinstance(fresh, (bool, type(None))):
        if found.found is not None and not isinstance(found.found, bool):
            found.fail("true, false or null")
        return found.found
    if isinstance(fresh, (int, float)):
        return found.number()
    return fresh


def advice(out: Path) -> str:
    """What to do about a run that diverged, for an error message."""
    kept = f"{out / CHECKPOINT} holds an earlier step; " if (out / CHECKPOINT).is_file() else ""
    return f"{kept}try a lower learning rate, in another output folder"


def write_checkpoint(run: Run, recipe: Recipe, data: ImageData, out: Path, facts: Mapping | None = None) -> None:
    """Replace the checkpoint in ``out``, completely or not at all.

    Args:
        run: the state to write.
        recipe, data: what the run trains by and on; `read_checkpoint` compares them.
        out: the folder, which exists.
        facts: "precision", the one that is used, and "content", the fingerprints of the splits by their names.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    content = {"recipe": recipe.to_dict(), "data": data.identity(), **(facts or {}), **run.state()}
    try:
        with replacing(out / CHECKPOINT) as partial:
            torch.save(content, partial)
    except (RuntimeError, OSError) as error:  # a RuntimeError is PyTorch's way to report a full disk
        size = sum(value.nbytes for value in content["model"].values())
        raise not_written(out / CHECKPOINT, error, size) from error


# Keys that may be other ones when a run resumes: those of its length, and its rate from there on.
_ADJUSTABLE = ("epochs", "steps", "lr", "warmup_epochs", "evaluate_every", "patience", "trackers")


def read_checkpoint(out: Path, recipe: Recipe, data: ImageData) -> dict | None:
    """The state that `write_checkpoint` wrote to ``out``, on the CPU; None if there is no checkpoint.

    Its "adjusted" has a text such as "epochs=5 instead of 3" for each key of length or rate that the recipe changes.

    Raises:
        ValueError: the checkpoint cannot be read, is damaged, or belongs to another recipe or to other data.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return None
    try:
        if path.is_dir():
            raise ValueError("it is a folder")
        state = load_checked(path)
        made_with = _checked(Value(state, "the state"), get_task(recipe.task).headline)
    except Exception as error:  # a damaged file can raise anything
        raise unusable(out, reason(error)) from error
    made_on = state["data"]
    wanted = recipe.flat()
    # The data is compared by what it holds, wherever it lies.
    changed = [key for key in wanted if made_with.get(key) != wanted[key] and not key.startswith("data.")]
    state["adjusted"] = [
        f"{key}={wanted[key]} instead of {shortened(made_with.get(key))}" for key in changed if key in _ADJUSTABLE
    ]
    changed = [key for key in changed if key not in _ADJUSTABLE]
    if changed:
        raise ValueError(
            f"{path} was made with {changed[0]}={shortened(made_with.get(changed[0]))}, but the recipe has "
            f"{wanted[changed[0]]!r}; choose another output folder, or use the recipe of the checkpoint"
        )
    given = data.identity()
    changed = [key for key in given if made_on.get(key, given[key]) != given[key]]  # as far as it holds them
    if changed:
        names = {"classes": "classes", "images": "number of images", "id_map": "ids of the masks"}
        what = names.get(changed[0], "names of the images")
        older = "--data.holdout fifth holds out what version 0.1 did, or " if data.is_whole else ""
        raise ValueError(f"{path} was made with other data (different {what}); {older}choose another output folder")
    return state


def unusable(out: Path, why: str) -> ValueError:
    """The error for a checkpoint that cannot be used, with what to do instead."""
    last = out / RUN_FILES[0]
    instead = f", and start from the weights in {last} with --start" if last.is_file() else ""
    return ValueError(f"{out / CHECKPOINT} is not a checkpoint of a run ({why}); choose another output folder{instead}")


def _checked(state: Value, headline: str) -> dict:
    """Check the types in a checkpoint as far as `Run.load` does not, and rename keys of version 0.1, in place.

    Args:
        state: what the file contains.
        headline: name of the headline figure of the task.

    Returns:
        The keys of its recipe by their full names.

    Raises:
        ValueError: a value is missing, or has another type.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about the old names of recipe keys
        made_with = Recipe.from_dict({key: value.found for key, value in state["recipe"].keys().items()}).flat()
    state["data"].keys()
    state["step"].whole(0, 1 << 32)
    interval = state["interval"].keys()
    for name, value in interval.items():
        if name == "losses":
            for each in value.keys().values():
                each.number()
        elif name in ("loss", "steps", "seconds", "wait_seconds"):
            value.number()
        else:
            value.fail("left out")
    for row in state["history"].items(most=1 << 24):
        values = row.keys()
        if "miou" in values:  # written by version 0.1
            row.found[headline] = row.found.pop("miou")
        row["step"].whole(0, 1 << 32)
        for value in (row[headline], *row.keys().values()):
            if value.found is not None and not isinstance(value.found, (int, float)):
                value.fail("a number or null")
    for generator in (state["rng"], *state["cuda_rng"].items(most=1024)):
        if not isinstance(generator.found, torch.Tensor) or generator.found.dtype != torch.uint8:
            generator.fail("the state of a random generator")
    for name, value in state.found.get("content", {}).items():
        if not isinstance(value, torch.Tensor) or value.dim() != 2:
            Value(value, state.where, f"content.{name}").fail("fingerprints of files")
    return made_with
