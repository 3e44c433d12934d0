"""The training loop: one recipe, one dataset, a folder that a stopped run goes on from."""

from __future__ import annotations

import dataclasses
import math
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch.utils.data import DataLoader
from tqdm import tqdm

from srzoo_kernels import NonFiniteError

from ..data.samples import SegmentationData
from ..data.seeded import AugmentedDataset
from ..data.shares import class_weights, label_shares
from ..evaluate.evaluation import evaluate
from ..files import replacing
from ..labels import LabelSet
from ..recipes.recipe import RUN_FILES, Recipe
from ..tasks.semantic.augment import Augment
from ..tasks.semantic.distillation import Teacher, distillation
from ..tasks.semantic.losses import SegmentationLoss
from ..zoo.factory import create_model, save_model, trained_model
from ..zoo.transform import Transform
from ..zoo.weights import is_model_file
from .depthwise import replace_depthwise
from .log import line, write_csv, write_tensorboard
from .optimizer import make_optimizer, make_schedule
from .precision import fast_precision
from .run import Interval, Run, advice, read_checkpoint, write_checkpoint
from .sampler import StepBatches


def train(
    recipe: Recipe,
    train_set: SegmentationData,
    val_set: SegmentationData,
    out: str | Path,
    workers: int = 1,
    checkpoint_seconds: float = 300,
) -> float:
    """Train to the end of the recipe; a checkpoint in ``out`` is gone on from.

    On one process on a CPU it ends with the same bits as a run that was not stopped. On a GPU two runs differ as it is:
    cuDNN's and PyTorch's own gradients there add up in no fixed order.

    Under ``accelerate launch`` the recipe's batch is shared between the processes.

    Args:
        recipe: the protocol.
        train_set, val_set: what to train on and to evaluate; the model takes the names of the first one's classes.
        out: gets ``recipe.yaml``, ``checkpoint.pt`` and, after each epoch that was evaluated or ended a tenth of
            ``checkpoint_seconds`` after the last write, ``log.csv``, ``tensorboard/`` and ``model.safetensors``: the
            averaged weights, where the recipe has an average; and ``best.safetensors``, those of highest mIoU.
        workers: processes that load images, for each process that trains.
        checkpoint_seconds: a checkpoint is written after so long, besides those at the end of epochs.

    Returns:
        mIoU on val of the model that was kept, after the last step.

    Raises:
        ValueError: the checkpoint in ``out`` is of another recipe or of other data; recipe, labels and machine do not
            fit; an image or mask that cannot be read.
        FloatingPointError: the loss became non-finite; the last checkpoint is kept.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}: expected 0 or more")
    if recipe.crop < Transform.MIN_SIDE:
        raise ValueError(f"crop={recipe.crop} is less than {Transform.MIN_SIDE}, the smallest side that a model takes")
    out = Path(out)
    accelerator = _accelerator(recipe)
    set_seed(recipe.seed)
    state = read_checkpoint(out, recipe, train_set)
    model = _create(recipe, train_set.labels, is_new=state is None)
    loss_of = _loss(recipe, train_set, model, accelerator)
    set_seed(recipe.seed, device_specific=True)  # the same weights on every process, but not the same dropout
    trainer = _Trainer(recipe, model, loss_of, train_set, val_set, out, accelerator)
    if state is not None:
        trainer.run.load(state)
        is_done = trainer.run.step >= trainer.steps
        said = "has been trained to its end" if is_done else f"goes on from step {trainer.run.step} of {trainer.steps}"
        accelerator.print(f"the run in {out} {said}")
    del state  # as large as the model, its average and the optimiser's state together
    trainer.train(workers, checkpoint_seconds)
    return trainer.run.history[-1]["miou"]


def _accelerator(recipe: Recipe) -> Accelerator:
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("precision='fp16' needs a GPU; use 'auto' on this machine")
    AcceleratorState._reset_state()  # else a notebook's second run is held to the first one's precision
    precision = fast_precision() if recipe.precision == "auto" else recipe.precision
    # Left to itself it joins processes on CPUs only where `accelerate launch` says so, and takes a Mac's GPU, for
    # which the operators have no code.
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)


def _create(recipe: Recipe, labels: LabelSet | None, is_new: bool) -> torch.nn.Module:
    """The recipe's model, for the data's classes where it names them; its backbone's start only for a new run."""
    options = dict(recipe.model_options)
    if labels and options.setdefault("num_classes", len(labels.classes)) != len(labels.classes):
        raise ValueError(f"the recipe has num_classes={options['num_classes']}, the data {len(labels.classes)} classes")
    if recipe.pretrained:
        model = trained_model(recipe.model, **options)
    elif is_model_file(recipe.model):
        raise ValueError(
            f"{recipe.model} is a file of weights, which pretrained=False leaves out; take pretrained=True, or the "
            "name of an architecture"
        )
    else:
        model = create_model(recipe.model, pretrained_backbone=is_new and recipe.pretrained_backbone, **options)
    if labels:
        model.reconfigure(labels=labels)
    if recipe.short_side:
        model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=recipe.short_side))
    return model


def _loss(
    recipe: Recipe, dataset: SegmentationData, model: torch.nn.Module, accelerator: Accelerator
) -> SegmentationLoss:
    shares = accelerator.num_processes * recipe.accumulate  # each of which mines its own part of the batch
    return SegmentationLoss(
        _class_weights(recipe, dataset, model.num_classes, accelerator.device),
        recipe.lovasz,
        recipe.dice,
        recipe.aux,
        recipe.ohem and (recipe.ohem[0], recipe.ohem[1] // shares),
        recipe.label_smoothing,
        model.align_corners,
    )


def _class_weights(
    recipe: Recipe, dataset: SegmentationData, num_classes: int, device: torch.device
) -> torch.Tensor | None:
    weights = recipe.class_weights
    if weights is False:
        return None
    if weights is True:
        weights = class_weights(label_shares(dataset, num_classes))
    if len(weights) != num_classes:
        raise ValueError(f"the recipe has {len(weights)} class_weights, the model {num_classes} classes")
    return torch.as_tensor(weights, dtype=torch.float32, device=device)


class _Trainer:
    """A run with what it works on: the recipe, the data, the processes."""

    def __init__(self, recipe, model, loss_of, train_set, val_set, out, accelerator):
        self.recipe, self.loss_of, self.train_set, self.val_set = recipe, loss_of, train_set, val_set
        self.out, self.accelerator = out, accelerator
        self.steps_per_epoch = max(1, len(train_set) // recipe.batch_size)
        self.steps = recipe.steps or recipe.epochs * self.steps_per_epoch
        self.normalize = model.config.transform.normalize
        if not recipe.aux and getattr(model, "aux_head", None) is not None:
            model.aux_head.requires_grad_(False)  # else several processes wait for a gradient that never comes
        self.teacher = Teacher(recipe.teacher, model.config.classes, accelerator.device) if recipe.teacher else None
        model = replace_depthwise(model).to(accelerator.device, memory_format=torch.channels_last)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = convert_sync_batchnorm(model)
        average = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        optimizer = make_optimizer(model, recipe)
        schedule = make_schedule(optimizer, recipe, self.steps, self.steps_per_epoch)
        self.run = Run(model, average, optimizer, schedule, accelerator.scaler)
        # The models as they are called: compiled, and wrapped where several processes share the gradient.
        compiled = torch.compile(model) if recipe.compile else _Called(model)
        self.forward, self.optimizer = accelerator.prepare(compiled, optimizer)

    def train(self, workers: int, checkpoint_seconds: float) -> None:
        run, written = self.run, time.monotonic()
        self.logged = len(run.history)  # rows of it that the log has
        if run.step >= self.steps:
            return
        is_main, loader = self.accelerator.is_main_process, self._loader(workers)
        if is_main:
            self.out.mkdir(parents=True, exist_ok=True)
            for left_over in self.out.glob(".*.partial"):  # of a process that was killed while it wrote
                left_over.unlink()
            if not run.step:
                with replacing(self.out / "recipe.yaml") as partial:
                    partial.write_text(self.recipe.to_yaml())
        batches = iter(loader)
        with tqdm(total=self.steps, initial=run.step, unit="step", disable=None if is_main else True) as bar:
            while run.step < self.steps:
                loss = self._step(batches)
                bar.set_postfix(loss=f"{loss:.3f}", **self._last_miou())
                bar.update()
                is_epoch = run.step % self.steps_per_epoch == 0 or run.step == self.steps
                if is_epoch:
                    self._end_epoch()
                waited = time.monotonic() - written
                is_measured = is_epoch and run.history[-1]["miou"] is not None
                # Epochs of a second or two, of few images on a GPU, are not worth writing all of them.
                is_kept = is_epoch and (is_measured or waited > checkpoint_seconds / 10)
                if is_main and (is_kept or waited > checkpoint_seconds):
                    self._save(is_kept)
                    written = time.monotonic()

    def _loader(self, workers: int) -> DataLoader:
        recipe, accelerator = self.recipe, self.accelerator
        augment = Augment(
            recipe.crop, recipe.scale, recipe.short_side, recipe.max_class_share, recipe.jitter, recipe.blur
        )
        dataset = AugmentedDataset(self.train_set, augment, recipe.seed)
        batches = StepBatches(
            len(dataset),
            recipe.batch_size,
            recipe.accumulate,
            range(self.run.step, self.steps),
            recipe.seed,
            accelerator.process_index,
            accelerator.num_processes,
        )
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            prefetch_factor=max(2, 8 // workers) if workers else None,
            pin_memory=accelerator.device.type == "cuda",
            generator=torch.Generator(),  # of its own: the default one's draws would differ after a stop
        )

    def _step(self, batches) -> float:
        """One optimiser step; returns its loss."""
        began, recipe, run, total = time.monotonic(), self.recipe, self.run, 0.0
        self.forward.train()
        for part in range(recipe.accumulate):
            asked = time.monotonic()
            images, target, index = _next(batches)
            run.interval.wait_seconds += time.monotonic() - asked
            is_last = part == recipe.accumulate - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.forward):
                try:
                    loss = self._loss(images, target)
                    value = loss.item()
                except NonFiniteError:  # the block sees it before the loss does
                    value = math.nan
                if not math.isfinite(value):
                    raise FloatingPointError(self._blown_up(value, index))
                self.accelerator.backward(loss / recipe.accumulate)
            total += value / recipe.accumulate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.optimizer.step_was_skipped:  # its scaled fp16 gradients overflowed; a smaller scale is tried next
            if run.scaler.get_scale() < 1:
                raise FloatingPointError(self._blown_up(total, index, "gradients overflow, loss"))
        elif run.average is not None:
            run.average.update(run.model, step=run.step)
        with warnings.catch_warnings():
            # Of a schedule that goes on where the very first update was skipped.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            run.schedule.step()
        run.step += 1
        run.interval.loss += total
        run.interval.steps += 1
        run.interval.seconds += time.monotonic() - began
        return total

    def _loss(self, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        device = self.accelerator.device
        images, target = images.to(device, non_blocking=True), target.to(device, non_blocking=True).long()
        x = self.normalize(images).contiguous(memory_format=torch.channels_last)
        out = self.forward(x, return_aux=self.recipe.aux > 0, upsample=False)
        logits, aux = out if self.recipe.aux else (out, None)
        loss = self.loss_of(logits, aux, target)
        if self.teacher is None:
            return loss
        with self.accelerator.autocast():
            wanted = self.teacher(images)
        return loss + self.recipe.distill * distillation(logits, wanted, self.teacher.align_corners)

    def _blown_up(self, value: float, index: torch.Tensor, what: str = "loss") -> str:
        names = ", ".join(Path(self.train_set.image_name(i)).name for i in index.tolist()[:4])
        more = f" and {len(index) - 4} more" if len(index) > 4 else ""
        return (
            f"{what} {value} in step {self.run.step + 1} of {self.steps}, on {names}{more}, at learning rate "
            f"{self.run.schedule.get_last_lr()[-1]:.2e}; {advice(self.out)}"
        )

    def _last_miou(self) -> dict[str, str]:
        measured = [row["miou"] for row in self.run.history if row["miou"] is not None]
        return {"mIoU": f"{measured[-1]:.2%}"} if measured else {}

    def _end_epoch(self) -> None:
        """Evaluate where it is due, and add a row to the history."""
        run, interval = self.run, self.run.interval
        run.check_finite(self.out)
        epoch = math.ceil(run.step / self.steps_per_epoch)
        is_due = run.step == self.steps or epoch % self.recipe.evaluate_every == 0
        row = {
            "step": run.step,
            "epoch": epoch,
            "loss": self._mean_over_processes(interval.loss / interval.steps),
            "miou": self._miou() if is_due else None,
            "lr": run.schedule.get_last_lr()[-1],
            "seconds": interval.seconds,
            "data_wait": interval.wait_seconds / interval.seconds,
        }
        run.history.append(row)
        run.interval = Interval()
        if self.accelerator.is_main_process:
            tqdm.write(line(row, math.ceil(self.steps / self.steps_per_epoch)))

    def _miou(self) -> float:
        try:
            return evaluate(self.run.result, self.val_set).mean_iou()
        except NonFiniteError as error:  # weights that are finite still, but too large
            raise FloatingPointError(
                f"the model overflows on val after step {self.run.step}, at learning rate "
                f"{self.run.schedule.get_last_lr()[-1]:.2e}; {advice(self.out)}"
            ) from error

    def _mean_over_processes(self, value: float) -> float:
        return self.accelerator.reduce(torch.tensor(value, device=self.accelerator.device), "mean").item()

    def _save(self, is_epoch: bool) -> None:
        """Last of all the checkpoint: what it says is done has been written."""
        self.run.check_finite(self.out)
        history = self.run.history
        if is_epoch:
            last, best = (self.out / name for name in RUN_FILES)
            save_model(self.run.result, last)
            measured = [row["miou"] for row in history if row["miou"] is not None]
            if history[-1]["miou"] is not None and history[-1]["miou"] >= max(measured):
                save_model(self.run.result, best)
        if self.logged < len(history):
            write_csv(history, self.out / "log.csv")
            write_tensorboard(history[self.logged :], self.out / "tensorboard")
            self.logged = len(history)
        write_checkpoint(self.run, self.recipe, self.train_set, self.out)


class _Called(torch.nn.Module):
    """The model as a step calls it. Accelerate changes the ``forward`` of what it is given; the model keeps its own."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *args, **options):
        return self.model(*args, **options)


def _next(batches: Iterator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The next batch; what a worker could not read is told as this process would have told it.

    Raises:
        ValueError: an image or mask that cannot be read.
    """
    try:
        return next(batches)
    except (ValueError, OSError, RuntimeError) as error:
        told = str(error).strip().splitlines()
        if len(told) == 1:
            raise
        raise ValueError(re.sub(r"^[\w.]+: ", "", told[-1])) from error  # the last line of the worker's traceback
