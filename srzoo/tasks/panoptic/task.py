"""Panoptic segmentation as a `Task`. Its methods import what needs torch when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..instance.task import InstanceTask
from .options import PanopticOptions
from .view import View

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...data.objects import PanopticSample
    from ...data.samples import PanopticData
    from ...data.seeded import AugmentedDataset
    from ...models.panoptic_fpn import PanopticFPN
    from ...zoo.config import ModelConfig
    from ...zoo.transform import Transform
    from .meter import PanopticMeter
    from .result import Panoptic
    from .results_folder import ResultsFolder


class PanopticTask(InstanceTask):
    """Panoptic segmentation, a segment for each pixel; see `srzoo.tasks.task.Task`.

    It is trained and checked as `InstanceTask`: the losses are the model's, and the options name their weights.
    """

    name: ClassVar[str] = "panoptic"
    headline: ClassVar[str] = "PQ"
    Options: ClassVar[type] = PanopticOptions
    View: ClassVar[type] = View
    endings: ClassVar[tuple[str, ...]] = ("_panoptic.png", "_panoptic.json")

    def samples(
        self, data: PanopticData, options: PanopticOptions, transform: Transform | None, seed: int
    ) -> AugmentedDataset:
        from ...data.samples import PanopticData
        from ..instance.copy_paste import augmented
        from .augment import PanopticAugment

        if not isinstance(data, PanopticData):
            raise ValueError(
                f"a model of the task 'panoptic' needs data with segments, got {type(data).__name__}; open it with "
                "open_dataset(root, split, task='panoptic')"
            )
        augment = PanopticAugment.of(options, transform, things=data.labels.things)
        return augmented(data, augment, seed, options.copy_paste)

    def predict(self, model: PanopticFPN, image: Image.Image, view: View, brief: bool = False) -> Panoptic:
        from .inference import segments

        return segments(model, image, view)

    def meter(
        self, config: ModelConfig, device: torch.device, brief: bool = False, view: View | None = None
    ) -> PanopticMeter:
        from .meter import PanopticMeter

        return PanopticMeter(config.labels)

    def comparison(self, result: Panoptic, sample: PanopticSample, config: ModelConfig) -> Image.Image:
        from .comparison import comparison

        return comparison(sample, result)

    def export(self, path: Path, config: ModelConfig, data: PanopticData) -> ResultsFolder:
        from .results_folder import ResultsFolder

        return ResultsFolder(path, data)
