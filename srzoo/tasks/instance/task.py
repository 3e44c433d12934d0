"""Instance segmentation as a `Task`. Its methods import what needs torch when they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..task import StepContext
from .options import InstanceOptions
from .view import View

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...data.check import Report
    from ...data.objects import InstanceSample
    from ...data.samples import InstanceData
    from ...data.seeded import AugmentedDataset
    from ...models.mask_rcnn import MaskRCNN
    from ...zoo.config import ModelConfig
    from ...zoo.transform import Transform
    from .meter import InstanceMeter
    from .objective import DetectionObjective
    from .result import Instances
    from .results_file import ResultsFile


class InstanceTask:
    """Instance segmentation, a box, class and mask for each object; see `srzoo.tasks.task.Task`."""

    name: ClassVar[str] = "instance"
    headline: ClassVar[str] = "mask AP"
    Options: ClassVar[type] = InstanceOptions
    View: ClassVar[type] = View
    endings: ClassVar[tuple[str, ...]] = ("_objects.json",)

    def fine_tuning(self) -> Mapping[str, Any]:
        return {"crop": 640, "scale": (0.6, 1.6), "jitter": 0.2}

    def check(self, splits: Mapping[str, InstanceData], num_classes: int | None, root: str, training: bool) -> None:
        from ...data.check import check_quickly

        check_quickly(splits, num_classes, root)

    def describe(self, report: Report) -> list[str]:
        from ...data.object_check import object_table

        return object_table(report)

    def proposed_options(self, report: Report) -> list[str]:
        return []

    def samples(
        self, data: InstanceData, options: InstanceOptions, transform: Transform | None, seed: int
    ) -> AugmentedDataset:
        from ...data.samples import InstanceData
        from .augment import Augment
        from .copy_paste import augmented

        if not isinstance(data, InstanceData):
            raise ValueError(
                f"a model of the task 'instance' needs data with objects, got {type(data).__name__}; open it with "
                "open_dataset(root, split, task='instance')"
            )
        return augmented(data, Augment.of(options, transform), seed, options.copy_paste)

    def objective(
        self, model: MaskRCNN, data: InstanceData, options: InstanceOptions, context: StepContext
    ) -> DetectionObjective:
        from .objective import DetectionObjective

        return DetectionObjective(model, options, context)

    def check_view(self, model: MaskRCNN, view: View) -> None:
        """Every detector supports every view."""

    def predict(self, model: MaskRCNN, image: Image.Image, view: View, brief: bool = False) -> Instances:
        from .inference import instances

        return instances(model, image, view)

    def predict_batch(
        self, model: MaskRCNN, images: Sequence[Image.Image], view: View, brief: bool = False
    ) -> list[Instances]:
        return [self.predict(model, image, view, brief) for image in images]

    def meter(
        self, config: ModelConfig, device: torch.device, brief: bool = False, view: View | None = None
    ) -> InstanceMeter:
        from .meter import InstanceMeter

        return InstanceMeter(config.classes, brief)

    def comparison(self, result: Instances, sample: InstanceSample, config: ModelConfig) -> Image.Image:
        from .comparison import comparison

        return comparison(sample.objects, result)

    def export(self, path: Path, config: ModelConfig, data: InstanceData) -> ResultsFile:
        from .results_file import ResultsFile

        return ResultsFile(path, data)
