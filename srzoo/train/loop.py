"""The training loop: one recipe, one dataset, a folder that a stopped run goes on from."""

from __future__ import annotations

import csv
import dataclasses
import math
import time
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


def train(
    recipe: Recipe, root: str | Path, out: str | Path, workers: int = 1, pretrained_backbone: bool | str = True
) -> float:
    """Train to the end of the recipe; a checkpoint in ``out`` is gone on from.

    Args:
        recipe: the protocol.
        root: folder of the data set.
        out: gets ``checkpoint.pt`` and ``log.csv`` after each epoch, ``model.safetensors`` (the averaged weights).
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
    loss_of = SegmentationLoss(
        class_weights(label_shares(train_set, model.num_classes)).to(accelerator.device), recipe.lovasz, recipe.aux
    )
    sampler = EpochSampler(len(train_set), recipe.seed)
    loader = DataLoader(
        AugmentedDataset(train_set, Augment(recipe.crop, recipe.scale), recipe.seed),
        recipe.batch_size,
        sampler=sampler,
        drop_last=len(train_set) > recipe.batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=8 if workers else None,
    )
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))
    average = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True)
    total = recipe.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: poly(step, total, round(recipe.warmup_epochs * len(loader)), recipe.power)
    )
    start = 0
    if checkpoint is not None:
        start = checkpoint["epoch"]
        model.load_state_dict(checkpoint["model"])
        average.module.load_state_dict(checkpoint["average"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        torch.set_rng_state(checkpoint["rng"])
        accelerator.print(f"going on from epoch {start} of {recipe.epochs} in {out}")
    normalize = model.config.transform.normalize
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    for epoch in range(start, recipe.epochs):
        began = time.monotonic()
        sampler.epoch = epoch
        model.train()
        bar = tqdm(loader, desc=f"epoch {epoch + 1}/{recipe.epochs}", unit="step", leave=False, disable=None)
        losses = []
        for images, target in bar:
            x = normalize(images.to(accelerator.device)).contiguous(memory_format=torch.channels_last)
            logits, aux = model(x, return_aux=True, upsample=False)
            loss = loss_of(logits, aux, target.to(accelerator.device))
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"loss {loss.item()} in epoch {epoch + 1} at learning rate {schedule.get_last_lr()[-1]:.2e}; "
                    f"{out / 'checkpoint.pt'} holds the epoch before"
                )
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            plain = accelerator.unwrap_model(model)
            average.update(plain, step=epoch * len(loader) + len(losses))
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
        seconds = time.monotonic() - began
        is_last = epoch + 1 == recipe.epochs
        miou = evaluate(average.module, val_set).mean_iou() if is_last or epoch % 8 == 7 else float("nan")
        state = {
            "recipe": dataclasses.asdict(recipe),
            "epoch": epoch + 1,
            "model": plain.state_dict(),
            "average": average.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }
        with replacing(out / "checkpoint.pt") as partial:
            torch.save(state, partial)
        _log(out / "log.csv", epoch=epoch + 1, loss=sum(losses) / len(losses), miou=miou, seconds=seconds)
        accelerator.print(
            f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, val mIoU {miou:.4f}, {seconds:.0f} s", flush=True
        )
        save_model(average.module, out / "model.safetensors")
    return miou


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


def _log(path: Path, **row) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
