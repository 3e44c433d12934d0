"""Semantic segmentation as a `Task`. Its methods import what needs torch when they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..saving import LABELS
from ..task import StepContext
from .options import SemanticOptions
from .view import View

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

    from ...data.report import Report
    from ...data.samples import SemanticData
    from ...data.seeded import AugmentedDataset
    from ...zoo.config import ModelConfig
    from ...zoo.transform import Transform
    from .meter import SemanticMeter
    from .objective import SemanticObjective
    from .result import Segmentation
    from .submission import LabelFiles


class SemanticTask:
    """Semantic segmentation, one class for every pixel; see `srzoo.tasks.task.Task`."""

    name: ClassVar[str] = "semantic"
    headline: ClassVar[str] = "mIoU"
    Options: ClassVar[type] = SemanticOptions
    View: ClassVar[type] = View
    endings: ClassVar[tuple[str, ...]] = (LABELS,)

    def fine_tuning(self) -> Mapping[str, Any]:
        return {"crop": 512, "scale": (0.5, 2.0), "blur": 0.1}

    def check(self, splits: Mapping[str, SemanticData], num_classes: int | None, root: str, training: bool) -> None:
        from ...data.check import check_quickly

        if not training and not all(data.id_map.is_assumed for data in splits.values()):
            return  # when evaluating, only the default id map can give a wrong figure without an error
        num_classes = num_classes or max(next(iter(splits.values())).id_map.classes) + 1
        check_quickly(splits, num_classes, root, may_be_void=not training)

    def describe(self, report: Report) -> list[str]:
        from .report import class_table

        return class_table(report)

    def proposed_options(self, report: Report) -> list[str]:
        from .report import proposed_options

        return proposed_options(report)

    def samples(
        self, data: SemanticData, options: SemanticOptions, transform: Transform | None, seed: int
    ) -> AugmentedDataset:
        from ...data.seeded import AugmentedDataset
        from .augment import Augment

        size = {} if transform is None else {"short_side": transform.short_side, "max_pixels": transform.max_pixels}
        augment = Augment(
            options.crop,
            options.scale,
            max_class_share=options.max_class_share,
            jitter=options.jitter,
            blur=options.blur,
            noise=options.noise,
            flip=options.flip,
            vertical_flip=options.vertical_flip,
            turns=options.turns,
            **size,
        )
        return AugmentedDataset(data, augment, seed)

    def objective(
        self, model: nn.Module, data: SemanticData, options: SemanticOptions, context: StepContext
    ) -> SemanticObjective:
        from .objective import SemanticObjective

        return SemanticObjective(model, data, options, context)

    def check_view(self, model: nn.Module, view: View) -> None:
        from .meter import check_classes
        from .tiling import check_tiles, check_window

        check_classes(view.leave_out, model.config.classes)
        if view.threshold is not None and model.num_classes != 2:
            raise ValueError(f"threshold is for models of two classes, and {model.config.name} has {model.num_classes}")

        if view.tile is not None:
            check_tiles(model, view.tile, view.halo)
        if view.window is not None:
            check_window(model, view.window)

    def predict(self, model: nn.Module, image: Image.Image, view: View, brief: bool = False) -> Segmentation:
        from .inference import segment

        return segment(model, image, view, with_probabilities=not brief)

    def predict_batch(
        self, model: nn.Module, images: Sequence[Image.Image], view: View, brief: bool = False
    ) -> list[Segmentation]:
        from .inference import segment_batch

        return segment_batch(model, images, view, with_probabilities=not brief)

    def meter(
        self, config: ModelConfig, device: torch.device, brief: bool = False, view: View | None = None
    ) -> SemanticMeter:
        from .meter import SemanticMeter

        leave_out = () if view is None else view.leave_out
        return SemanticMeter(config.classes, device, with_boundary=not brief, leave_out=leave_out)

    def comparison(self, result: Segmentation, sample: tuple, config: ModelConfig) -> Image.Image:
        from .pictures import comparison

        return comparison(result.image, sample[1], result.labels, config.palette, config.classes)

    def export(self, path: Path, config: ModelConfig, data: SemanticData) -> LabelFiles:
        from .submission import LabelFiles

        return LabelFiles(path, config.classes, data.new_ids)
