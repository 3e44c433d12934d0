"""The training loop: one recipe, one dataset, a folder that a stopped run goes on from."""

from __future__ import annotations

import csv
import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from ..data.augment import Augment, AugmentedDataset
from ..data.camvid import CamVid
from ..data.labels import IGNORE
from ..factory import create_model
from ..files import replacing
from ..weights import save_model
from .depthwise import replace_depthwise
from .evaluation import evaluate
from .losses import SegmentationLoss, class_weights
from .recipe import Recipe
from .schedule import poly

EVALUATE_EVERY = 8  # epochs; a pass over val takes as long as a third of one


class EpochSampler(Sampler):
    """Positions ``epoch * len + index`` in an order drawn from ``(seed, epoch)``, for `AugmentedDataset`."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        order = torch.randperm(self.length, generator=torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch))
        return iter((order + self.epoch * self.length).tolist())


def label_shares(dataset: CamVid, num_classes: int) -> torch.Tensor:
    """Share of each class among the labelled pixels."""
    counts = torch.zeros(256, dtype=torch.int64)
    for index in range(len(dataset)):
        counts += torch.bincount(torch.from_numpy(dataset[index][1]).flatten(), minlength=256)
    unknown = [i for i in range(num_classes, 256) if counts[i] and i != IGNORE]
    if unknown:
        raise ValueError(
            f"the annotations hold ids {unknown[:5]}, but the model has {num_classes} classes (0..{num_classes - 1})"
        )
    return counts[:num_classes] / counts[:num_classes].sum()


def parameter_groups(model: torch.nn.Module, recipe: Recipe) -> list[dict]:
    """AdamW's groups: backbone and head at their rates, norms and biases without weight decay."""
    groups = []
    for is_backbone in (True, False):
        part = torch.nn.ModuleDict({"part": model.backbone}) if is_backbone else _without_backbone(model)
        rate = recipe.lr * (recipe.backbone_lr_scale if is_backbone else 1.0)
        groups += [{**group, "lr": rate} for group in param_groups_weight_decay(part, recipe.weight_decay)]
    return groups


def _without_backbone(model: torch.nn.Module) -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict({name: child for name, child in model.named_children() if name != "backbone" and child})


@dataclass
class Run:
    """Everything that a stopped run needs to go on: what `state` holds is all there is."""

    model: torch.nn.Module
    average: ModelEmaV3
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    history: list[dict]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def state(self, recipe: Recipe) -> dict:
        return {
            "recipe": dataclasses.asdict(recipe),
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "rng": torch.get_rng_state(),
        }

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.average.module.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = state["history"]
        torch.set_rng_state(state["rng"])


def train(
    recipe: Recipe, root: str | Path, out: str | Path, workers: int = 1, pretrained_backbone: bool | str = True
) -> float:
    """Train to the end of the recipe; a checkpoint in ``out`` is gone on from.

    Args:
        recipe: the protocol.
        root: folder of the data set.
        out: gets ``checkpoint.pt``, ``log.csv`` and ``model.safetensors`` (the averaged weights) after each epoch.
        workers: processes that load images.
        pretrained_backbone: as in `create_model`.

    Returns:
        mIoU of the averaged weights on val, after the last epoch.

    Raises:
        ValueError: the checkpoint in ``out`` is of another recipe, or the labels do not fit the model.
        FloatingPointError: the loss became non-finite; the last checkpoint is kept.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision=recipe.precision)
    set_seed(recipe.seed)
    train_set, val_set = CamVid(root, "train"), CamVid(root, "val")
    checkpoint = _read_checkpoint(out, recipe)
    model = create_model(recipe.model, pretrained_backbone=pretrained_backbone if checkpoint is None else False)
    model = replace_depthwise(model).to(accelerator.device, memory_format=torch.channels_last)
    weights = class_weights(label_shares(train_set, model.num_classes)).to(accelerator.device)
    loss_of = SegmentationLoss(weights, recipe.lovasz, recipe.aux, model.config.align_corners)
    sampler = EpochSampler(len(train_set), recipe.seed)
    loader = accelerator.prepare(_loader(train_set, sampler, recipe, workers))
    run = _start(model, recipe, len(loader))
    if checkpoint is not None:
        run.load(checkpoint)
        accelerator.print(f"going on from epoch {run.epoch} of {recipe.epochs} in {out}")
    model, run.optimizer = accelerator.prepare(model, run.optimizer)
    while run.epoch < recipe.epochs:
        began = time.monotonic()
        sampler.epoch = run.epoch
        loss = _train_epoch(run, model, loader, loss_of, accelerator, recipe)
        seconds = time.monotonic() - began
        done = run.epoch + 1
        is_evaluated = done == recipe.epochs or done % EVALUATE_EVERY == 0
        miou = evaluate(run.average.module, val_set).mean_iou() if is_evaluated else float("nan")
        run.history.append({"epoch": done, "loss": loss, "miou": miou, "seconds": seconds})
        if accelerator.is_main_process:
            _save(run, recipe, out)
        accelerator.print(f"epoch {done}: loss {loss:.4f}, val mIoU {miou:.4f}, {seconds:.0f} s", flush=True)
    return run.history[-1]["miou"]


def _loader(train_set: CamVid, sampler: EpochSampler, recipe: Recipe, workers: int) -> DataLoader:
    return DataLoader(
        AugmentedDataset(train_set, Augment(recipe.crop, recipe.scale), recipe.seed),
        recipe.batch_size,
        sampler=sampler,
        drop_last=len(train_set) > recipe.batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=8 if workers else None,
    )


def _start(model: torch.nn.Module, recipe: Recipe, steps_per_epoch: int) -> Run:
    """A run at its first step."""
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))
    total, warmup = recipe.epochs * steps_per_epoch, round(recipe.warmup_epochs * steps_per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: poly(step, total, warmup, recipe.power))
    return Run(model, ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True), optimizer, schedule, [])


def _train_epoch(
    run: Run, model: torch.nn.Module, loader, loss_of: SegmentationLoss, accelerator: Accelerator, recipe: Recipe
) -> float:
    """One pass over the loader; returns the mean loss. ``model`` is ``run.model`` as Accelerate wraps it."""
    model.train()
    normalize = run.model.config.transform.normalize
    bar = tqdm(loader, desc=f"epoch {run.epoch + 1}/{recipe.epochs}", unit="step", leave=False, disable=None)
    losses = []
    for images, target in bar:
        x = normalize(images).contiguous(memory_format=torch.channels_last)
        logits, aux = model(x, return_aux=True, upsample=False)
        loss = loss_of(logits, aux, target)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"loss {losses[-1]} in epoch {run.epoch + 1}, step {len(losses)}, at learning rate "
                f"{run.schedule.get_last_lr()[-1]:.2e}; the checkpoint is the last epoch's, try a lower rate"
            )
        run.optimizer.zero_grad()
        accelerator.backward(loss)
        run.optimizer.step()
        run.schedule.step()
        run.average.update(run.model, step=run.epoch * len(loader) + len(losses) - 1)
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return sum(losses) / len(losses)


def _save(run: Run, recipe: Recipe, out: Path) -> None:
    """Write the model, the log and, last, the checkpoint, each whole or not at all."""
    save_model(run.average.module, out / "model.safetensors")
    with replacing(out / "log.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, run.history[0])
        writer.writeheader()
        writer.writerows(run.history)
    with replacing(out / "checkpoint.pt") as partial:
        torch.save(run.state(recipe), partial)


def _read_checkpoint(out: Path, recipe: Recipe) -> dict | None:
    path = out / "checkpoint.pt"
    if not path.is_file():
        return None
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    wanted = dataclasses.asdict(recipe)
    changed = [key for key in wanted if checkpoint["recipe"].get(key) != wanted[key]]
    if changed:
        raise ValueError(
            f"{path} was made with {changed[0]}={checkpoint['recipe'].get(changed[0])!r}, the recipe has "
            f"{wanted[changed[0]]!r}; give another output folder, or the recipe it was made with"
        )
    return checkpoint
