"""The training loop: one recipe, one dataset, a folder that a stopped run resumes from."""

from __future__ import annotations

import functools
import math
import operator
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch.utils.data import DataLoader
from tqdm import tqdm

from srzoo_kernels import NonFiniteError

from ..data.repeats import repeat_factors
from ..data.samples import ImageData
from ..evaluate.distributed import is_main_process
from ..evaluate.evaluation import evaluate
from ..messages import and_more
from ..models.base import ZooModel
from ..recipes.recipe import Recipe
from ..state_dicts import reason
from ..tasks.task import StepContext, get_task, make_view
from ..zoo.factory import save_model
from ..zoo.run_files import RUN_FILES
from .content import fingerprint
from .depthwise import replace_depthwise
from .failures import CHECKPOINT, explained, not_written
from .folder import compare_facts, keep_recipe, own_folder, refuse_other_run, rename_old_file
from .freezing import freeze
from .log import checked_trackers, line, write_csv, write_tensorboard
from .optimizer import make_optimizer, make_schedule
from .precision import fast_precision
from .run import Interval, Run, advice, read_checkpoint, unusable, write_checkpoint
from .sampler import StepBatches
from .start import starting_model
from .stopping import Stop, Stopped


def train(
    recipe: Recipe,
    train_set: ImageData,
    val_set: ImageData,
    out: str | Path,
    workers: int = 1,
    checkpoint_seconds: float = 300,
) -> float:
    """Train a model to the end of its recipe; resumes from the checkpoint in ``out``, if there is one.

    With one process on a CPU, a run that was stopped and resumed ends with the same bits as a run that was not stopped.
    On a GPU two runs differ anyway, since some gradients of cuDNN and PyTorch are added up in no fixed order.

    Under ``accelerate launch`` or ``torchrun`` the processes share each batch of the recipe.

    Args:
        recipe: the training protocol.
        train_set: the dataset to train on. The model takes the names of its classes.
        val_set: the dataset to evaluate on.
        out: the folder of the run. It gets ``recipe.yaml`` and ``checkpoint.pt``. After each epoch that was evaluated,
            or that ended more than ``checkpoint_seconds / 10`` after the last write, it also gets ``log.csv``,
            ``tensorboard/``, ``last.safetensors`` (the averaged weights, if the recipe has an average) and
            ``best.safetensors`` (the same, of the epoch with the highest headline figure).
        workers: number of processes that load images, for each training process; 0 loads in the training process.
        checkpoint_seconds: write a checkpoint after this many seconds within an epoch, too.

    Returns:
        The headline figure on ``val_set``, such as mIoU as a fraction, of the model after the last step.

    Raises:
        ValueError: the checkpoint in ``out`` belongs to another recipe or to other data; recipe, labels and machine do
            not fit together; or an image or annotation cannot be read.
        FloatingPointError: the loss or the weights became non-finite. The last checkpoint is kept.
        OSError: a file of the run cannot be written, or another process trains in ``out``.
        RuntimeError: a process that loads images, or another one of the run, was killed.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP has come; the step is finished and a checkpoint written first. A
            second one ends the run at once.
    """
    if not isinstance(workers, int) or not 0 <= workers <= _MOST_WORKERS:
        raise ValueError(f"workers={workers!r}: expected 0 or more, and at most {_MOST_WORKERS}")
    out = Path(out)
    accelerator = _accelerator(recipe, out)
    with own_folder(out), explained(out, workers):
        return _train(recipe, train_set, val_set, out, workers, checkpoint_seconds, accelerator)


_MOST_WORKERS = 256


def _train(
    recipe: Recipe,
    train_set: ImageData,
    val_set: ImageData,
    out: Path,
    workers: int,
    checkpoint_seconds: float,
    accelerator: Accelerator,
) -> float:
    """`train` in a folder that no other process trains in."""
    set_seed(recipe.seed)
    state = read_checkpoint(out, recipe, train_set)
    if state is None:
        refuse_other_run(out, recipe)
    content = {"train": fingerprint(train_set), "val": fingerprint(val_set)}
    facts = {"precision": accelerator.mixed_precision, "content": content}
    if state is not None and is_main_process():
        rename_old_file(out)
    if state is not None:
        compare_facts(out, state, facts, {"train": train_set, "val": val_set})
    model = starting_model(recipe, train_set.labels, is_new=state is None)
    set_seed(recipe.seed, device_specific=True)  # the same weights on every process, but not the same dropout
    trainer = _Trainer(recipe, model, train_set, val_set, out, accelerator, facts)
    if state is not None:
        trainer.load(state)
        said = "is already finished:" if trainer.is_finished else "resumes from"
        if is_main_process():
            now = f", now with {', '.join(trainer.adjusted)}" if trainer.adjusted else ""
            if now and trainer.is_finished:
                now += "; more epochs or steps train on with it"
            print(f"the run in {out} {said} step {trainer.run.step} of {trainer.steps}{now}")
    del state  # as large as the model, its average and the optimizer's state together
    if is_main_process() and recipe.precision == "auto" and not trainer.is_finished:
        print(f"precision {accelerator.mixed_precision}, the fastest on this machine")
    if trainer.is_finished:
        if is_main_process():
            keep_recipe(out, recipe, bool(trainer.adjusted))
            trainer.write_missing()
    else:
        with Stop() as stop:
            trainer.train(workers, checkpoint_seconds, stop)
    return trainer.run.history[-1][trainer.task.headline]


def _accelerator(recipe: Recipe, out: Path) -> Accelerator:
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("precision='fp16' needs a GPU; use 'auto' on this machine")
    AcceleratorState._reset_state()  # or the second run in a notebook would get the precision of the first
    precision = fast_precision() if recipe.precision == "auto" else recipe.precision
    # By default Accelerate joins processes on CPUs only under `accelerate launch`, and would use the GPU of a Mac, for
    # which the operators have no code.
    trackers = checked_trackers(recipe.trackers)
    return Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision=precision, log_with=trackers or None, project_dir=out
    )


class _Trainer:
    """One run: its state, and what changes it, which are the recipe, the data and the processes.

    Args:
        recipe: the training protocol.
        model: the model to start from, on the CPU; it is trained in place, on the device of ``accelerator``.
        train_set, val_set: as for `train`.
        out: folder of the run; it need not exist.
        accelerator: the device, the precision and the processes.
        facts: what `write_checkpoint` stores beside the state.

    Raises:
        ValueError: the options of the recipe contradict the data or the model.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: ZooModel,
        train_set: ImageData,
        val_set: ImageData,
        out: Path,
        accelerator: Accelerator,
        facts: Mapping,
    ):
        self.facts, self.logged, self.is_clean = facts, 0, True
        self.recipe, self.train_set, self.val_set = recipe, train_set, val_set
        self.out, self.accelerator, self.task = out, accelerator, get_task(model.task)
        self.steps_per_epoch = max(1, len(train_set) // recipe.batch_size)
        self.steps = recipe.steps or recipe.epochs * self.steps_per_epoch
        context = StepContext(accelerator.device, accelerator.num_processes * recipe.accumulate, accelerator.autocast)
        self.size = model.config.transform if recipe.short_side else None  # of an image at scale 1
        given = {name: getattr(recipe.options, name) for name in getattr(self.task.View, "FROM_RECIPE", ())}
        self.view = make_view(self.task, given, measured=True, config=model.config)
        self.task.check_view(model, self.view)
        self.objective = self.task.objective(model, train_set, recipe.options, context)
        model = replace_depthwise(model).to(accelerator.device, memory_format=torch.channels_last)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = convert_sync_batchnorm(model)
        self.still = freeze(model, recipe.freeze)
        average = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        optimizer = make_optimizer(model, recipe)
        schedule = make_schedule(optimizer, recipe, self.steps, self.steps_per_epoch)
        self.run = Run(model, average, optimizer, schedule, accelerator.scaler)
        # What a step calls: the model, compiled if wanted, and wrapped if several processes share its gradient.
        compiled = torch.compile(model) if recipe.compile else _Called(model)
        self.forward, self.optimizer = accelerator.prepare(compiled, optimizer)
        self.adjusted: list[str] = []  # keys of the recipe that are others than the run was started with

    def load(self, state: dict) -> None:
        """Set the run to the state of a checkpoint.

        Raises:
            ValueError: the state does not fit this run.
        """
        self.adjusted = state.get("adjusted", [])
        if self.adjusted and state["step"] > self.steps:
            raise ValueError(
                f"{self.out / CHECKPOINT} is at step {state['step']:,} already, and the recipe ends at {self.steps:,}; "
                "give more epochs or steps"
            )
        try:
            self.run.load(state)
            if self.run.step > self.steps or (self.run.step == self.steps and not self.run.history):
                raise ValueError(f"it is of step {self.run.step} of {self.steps}, with {len(self.run.history)} rows")
            self.run.check_parts()
        except Exception as error:  # what does not fit can raise anything
            raise unusable(self.out, reason(error)) from error
        self.logged = len(self.run.history)  # rows that log.csv has
        if self.adjusted:  # the rate may be another one from the next step on
            schedule = self.run.schedule
            for group, base, factor in zip(self.run.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas):
                group["lr"] = base * factor(schedule.last_epoch)

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done or no better figure is expected, and the last epoch is measured."""
        return (self.run.step >= self.steps or self._is_out_of_patience()) and not self._is_unlogged_epoch()

    def _is_out_of_patience(self) -> bool:
        """Whether the last evaluations, as many as the recipe has patience for, gave no better figure."""
        measured = self._measured()
        patience = self.recipe.patience
        return patience is not None and len(measured) - 1 - _first_best(measured) >= patience

    def _is_epoch(self) -> bool:
        return self.run.step % self.steps_per_epoch == 0 or self.run.step == self.steps

    def _is_unlogged_epoch(self) -> bool:
        """Whether an epoch has ended without a row in the history, as after a signal during its evaluation."""
        history = self.run.history
        return bool(self.run.step and self._is_epoch() and (not history or history[-1]["step"] < self.run.step))

    def write_missing(self) -> None:
        """Write those files of a finished run anew that are gone, as far as the checkpoint holds them."""
        last, best = (self.out / name for name in RUN_FILES)
        log, history, written = self.out / "log.csv", self.run.history, []
        if not last.exists():
            self._write_model(last)
            written.append(last.name)
        if not log.exists():
            write_csv(history, log)
            written.append(log.name)
        figure, epoch = history[-1][self.task.headline], history[-1].get("epoch")
        if not best.exists() and self._is_best(figure):
            self._write_model(best)
            written.append(best.name)
        elif not best.exists() and self._measured():
            measured = [row for row in history if row[self.task.headline] is not None]
            top = max(measured, key=lambda row: row[self.task.headline])
            warnings.warn(
                f"{best} is gone, and the checkpoint holds the weights of epoch {epoch} only, not those of the best, "
                f"{top.get('epoch')}; train again in another output folder for them",
                stacklevel=1,
            )
        if written:
            print(f"{', '.join(written)} were gone from {self.out}, and are written anew from {CHECKPOINT}")

    def train(self, workers: int, checkpoint_seconds: float, stop: Stop) -> None:
        """Run the steps that are left, and write the files of the run; arguments and errors are those of `train`.

        Raises:
            Stopped: a signal has come. The checkpoint is written if the state is one between two steps.
        """
        run, loader, self.stop = self.run, self._loader(workers), stop
        if is_main_process():
            keep_recipe(self.out, self.recipe, bool(self.adjusted))
        self._start_trackers()
        saved, batches = run.step, iter(loader)
        try:
            with tqdm(
                total=self.steps, initial=run.step, unit="step", disable=None if is_main_process() else True
            ) as bar:
                self._run_steps(batches, bar, checkpoint_seconds)
        except Stopped:
            if is_main_process() and self.is_clean and run.step > saved:
                self._save({"checkpoint"})
            raise
        except (RuntimeError, OSError) as error:
            if stop.signal is not None and not is_main_process():  # the main process has ended
                raise Stopped(stop.signal) from error
            raise
        finally:
            _end_workers(batches)
            if self.recipe.trackers:
                self.accelerator.end_training()

    def _start_trackers(self) -> None:
        if self.recipe.trackers:
            plain = {key: value for key, value in self.recipe.flat().items() if isinstance(value, (int, float, str))}
            names = {"wandb": {"wandb": {"name": self.out.name, "resume": "allow"}}}
            named = {name: options for each in self.recipe.trackers for name, options in names.get(each, {}).items()}
            self.accelerator.init_trackers("srzoo", config=plain, init_kwargs=named)

    def _run_steps(self, batches: Iterator, bar: tqdm, checkpoint_seconds: float) -> None:
        run, written = self.run, time.monotonic()
        is_epoch = self._is_unlogged_epoch()
        while is_epoch or (run.step < self.steps and not self._is_out_of_patience()):
            if not is_epoch:
                loss = self._step(batches)
                bar.set_postfix(loss=f"{loss:.3f}", **self._last_figure())
                bar.update()
                is_epoch = self._is_epoch()
            if is_epoch:
                self._end_epoch()
            due = self._due(is_epoch, time.monotonic() - written, checkpoint_seconds)
            if is_main_process() and due:
                self._save(due)
                written = time.monotonic()
            is_epoch = False
            if run.step < self.steps:
                self.stop.check()
        if run.step < self.steps and is_main_process():
            tqdm.write(f"{self.recipe.patience} evaluations without a better {self.task.headline}: the run ends")

    def _due(self, is_epoch: bool, waited: float, checkpoint_seconds: float) -> set[str]:
        """What to write, ``waited`` seconds after the last write: "model", "checkpoint", both, or nothing."""
        is_measured = is_epoch and self.run.history[-1][self.task.headline] is not None
        # With few images an epoch takes a second or two on a GPU, and writing files after each would take longer.
        if is_measured or (is_epoch and waited > checkpoint_seconds / 10):
            return {"model", "checkpoint"}
        return {"checkpoint"} if waited > checkpoint_seconds else set()

    def _loader(self, workers: int) -> DataLoader:
        recipe, accelerator = self.recipe, self.accelerator
        dataset = self.task.samples(self.train_set, recipe.options, self.size, recipe.seed)
        batches = StepBatches(
            len(dataset),
            recipe.batch_size,
            recipe.accumulate,
            range(self.run.step, self.steps),
            recipe.seed,
            accelerator.process_index,
            accelerator.num_processes,
            repeat_factors(self.train_set, recipe.repeat_threshold) if recipe.repeat_threshold else None,
        )
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            prefetch_factor=max(2, 8 // workers) if workers else None,
            pin_memory=accelerator.device.type == "cuda",
            generator=torch.Generator(),  # drawing its seed from the default one would make a resumed run differ
            collate_fn=getattr(dataset, "collate", None),
            worker_init_fn=Stop.outlive,
        )

    def _step(self, batches: Iterator) -> float:
        """Do one optimizer step, and return its loss.

        Raises:
            FloatingPointError: the loss or the gradients are not finite.
            ValueError: an image or annotation of the batch cannot be read.
        """
        began, recipe, run, total = time.monotonic(), self.recipe, self.run, 0.0
        self.forward.train()
        for norm in self.still:
            norm.eval()
        for part in range(recipe.accumulate):
            waiting_since = time.monotonic()
            with self.stop.at_once():
                batch = _next(batches)
            self.is_clean = False  # the forward pass changes running statistics
            run.interval.wait_seconds += time.monotonic() - waiting_since
            is_last = part == recipe.accumulate - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.forward):
                try:
                    losses = self.objective(self.forward, batch)
                    loss = functools.reduce(operator.add, losses.values())
                    # In one transfer, since each transfer waits for the GPU.
                    value, *each = torch.stack([loss, *losses.values()]).detach().tolist()
                except NonFiniteError:  # the block has found it before the loss is computed
                    value, losses, each = math.nan, {}, []
                if not math.isfinite(value):
                    raise FloatingPointError(self._blown_up(_named(value, losses, each), batch[-1]))
                self.accelerator.backward(loss / recipe.accumulate)
            total += value / recipe.accumulate
            for name, part_of_it in zip(losses, each, strict=True):
                run.interval.losses[name] = run.interval.losses.get(name, 0.0) + part_of_it / recipe.accumulate
        if recipe.clip_norm is not None:
            self.accelerator.clip_grad_norm_(run.model.parameters(), recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.optimizer.step_was_skipped:  # the scaled fp16 gradients overflowed; the next step uses a smaller scale
            if run.scaler.get_scale() < 1:
                raise FloatingPointError(self._blown_up(f"gradients overflow, loss {total}", batch[-1]))
        elif run.average is not None:
            run.average.update(run.model, step=run.step)
        with warnings.catch_warnings():
            # The schedule steps even if the very first update was skipped, about which PyTorch warns.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            run.schedule.step()
        run.step += 1
        run.interval.loss += total
        run.interval.steps += 1
        run.interval.seconds += time.monotonic() - began
        self.is_clean = True
        return total

    def _blown_up(self, what: str, index: torch.Tensor) -> str:
        """The message of an error in the step that runs, with the images of its batch."""
        names = [Path(self.train_set.image_name(i)).name for i in index.tolist()]
        return (
            f"{what} in step {self.run.step + 1} of {self.steps}, on {and_more(names, 4)}, at learning rate "
            f"{self.run.schedule.get_last_lr()[-1]:.2e}; {advice(self.out)}"
        )

    def _measured(self) -> list[float]:
        """The headline figures measured so far."""
        figures = (row[self.task.headline] for row in self.run.history)
        return [figure for figure in figures if figure is not None]

    def _last_figure(self) -> dict[str, str]:
        measured = self._measured()
        return {self.task.headline: f"{measured[-1]:.2%}"} if measured else {}

    def _end_epoch(self) -> None:
        """Evaluate if it is due after this epoch, and add a row to the history."""
        run, interval = self.run, self.run.interval
        run.check_finite(self.out)
        epoch = math.ceil(run.step / self.steps_per_epoch)
        is_due = run.step == self.steps or epoch % self.recipe.evaluate_every == 0
        row = {
            "step": run.step,
            "epoch": epoch,
            "loss": self._mean_over_processes(interval.loss / interval.steps),
            self.task.headline: self._figure() if is_due else None,
            "lr": run.schedule.get_last_lr()[-1],
            "seconds": interval.seconds,
            "data_wait": interval.wait_seconds / interval.seconds,
            **{
                f"loss/{name}": self._mean_over_processes(value / interval.steps)
                for name, value in interval.losses.items()
            },
        }
        run.history.append(row)
        run.interval = Interval()
        if self.recipe.trackers:
            self.accelerator.log({name: value for name, value in row.items() if value is not None}, step=run.step)
        if is_main_process():
            tqdm.write(line(row, self.task.headline, math.ceil(self.steps / self.steps_per_epoch)))

    def _figure(self) -> float:
        """The headline figure on val; NaN if nothing in it is annotated."""
        try:
            with self.stop.at_once():
                score = evaluate(self.run.result, self.val_set, self.view, brief=True)
            return math.nan if score is None else score.value
        except NonFiniteError as error:  # the weights are still finite, but too large
            raise FloatingPointError(
                f"the model overflows on val after step {self.run.step}, at learning rate "
                f"{self.run.schedule.get_last_lr()[-1]:.2e}; {advice(self.out)}"
            ) from error

    def _mean_over_processes(self, value: float) -> float:
        return self.accelerator.reduce(torch.tensor(value, device=self.accelerator.device), "mean").item()

    def _is_best(self, figure: float | None) -> bool:
        return figure is not None and figure >= max(self._measured())

    def _save(self, due: set[str]) -> None:
        """Write what is due. The checkpoint comes last, so that everything it counts as done is on disk."""
        self.run.check_finite(self.out)
        history = self.run.history
        if "model" in due:
            last, best = (self.out / name for name in RUN_FILES)
            self._write_model(last)
            if self._is_best(history[-1][self.task.headline]):
                self._write_model(best)
        if self.logged < len(history):
            try:
                write_csv(history, self.out / "log.csv")
                write_tensorboard(history[self.logged :], self.out / "tensorboard")
            except OSError as error:
                raise not_written(self.out / "log.csv", error, 1 << 16) from error
            self.logged = len(history)
        write_checkpoint(self.run, self.recipe, self.train_set, self.out, self.facts)

    def _write_model(self, path: Path) -> None:
        try:
            save_model(self.run.result, path, recipe=self.recipe.to_yaml())
        except OSError as error:
            size = sum(value.nbytes for value in self.run.result.state_dict().values())
            raise not_written(path, error, size) from error


def _first_best(figures: list[float]) -> int:
    """The index of the first of the highest figures; -1 without any."""
    return figures.index(max(figures)) if figures else -1


class _Called(torch.nn.Module):
    """Calls the model, which keeps its ``forward``: Accelerate replaces the one of the module that it prepares."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *args, **options):
        return self.model(*args, **options)


def _named(value: float, losses: dict[str, torch.Tensor], each: list[float]) -> str:
    """The loss for an error message, with the name of the first term that is not finite if there are several."""
    broken = [name for name, part in zip(losses, each) if not math.isfinite(part)]
    return f"loss {value}" + (f" ({broken[0]})" if broken and len(losses) > 1 else "")


def _end_workers(batches: Iterator) -> None:
    """End the processes that load images, even one that is stopped or waits for a disk that does not answer.

    PyTorch asks them to end when the iterator is deleted, and Python then waits for them without a limit.
    """
    with suppress(RuntimeError):  # one of them was killed
        getattr(batches, "_shutdown_workers", lambda: None)()
    for worker in getattr(batches, "_workers", ()):
        if worker.is_alive():
            worker.kill()


def _next(batches: Iterator) -> Any:
    """The next batch; an error in a worker is raised with the message that it had there.

    Raises:
        ValueError: an image or annotation cannot be read.
        ImportError: a package that reads it is not installed.
        RuntimeError: a worker was killed.
    """
    try:
        return next(batches)
    except (ConnectionError, EOFError) as error:  # while it sent a batch, before PyTorch looks whether it lives
        raise RuntimeError("DataLoader worker (pid unknown) has ended") from error
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        lines = str(error).strip().splitlines()
        if len(lines) == 1:
            raise
        kind = ImportError if isinstance(error, ImportError) else ValueError
        raise kind(re.sub(r"^[\w.]+: ", "", lines[-1])) from error  # the last line of the worker's traceback
