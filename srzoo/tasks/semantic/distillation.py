"""Distillation (Hinton et al., 2015): what a trained model says of each pixel, as a second target."""

import torch
from torch.nn import functional as F

from ...labels.own import numbered_labels
from ...models.folding import fuse
from ...zoo.factory import trained_model


class Teacher:
    """A trained model that is asked, and not trained.

    Args:
        source: a name with published weights, or a ``.safetensors`` file of ours.
        classes: names of those of the model that learns from it.
        device: where it runs.

    Raises:
        ValueError: there are no such weights, or they are for other classes.
        FileNotFoundError: no such file.
    """

    def __init__(self, source: str, classes: tuple[str, ...], device: torch.device):
        model = trained_model(source)
        own = model.config.classes
        if len(own) != len(classes):
            raise ValueError(f"the teacher {source} has {len(own)} classes, the model {len(classes)}")
        if numbered_labels(len(own)).classes not in (own, classes):  # both have names
            for i, (theirs, ours) in enumerate(zip(own, classes)):
                if theirs != ours:
                    raise ValueError(f"the teacher {source} has {theirs!r} as class {i}, the model {ours!r}")
        self._normalize, self.align_corners = model.config.transform.normalize, model.align_corners
        self._model = fuse(model.eval()).to(device, memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits at the teacher's own resolution of ``(N, 3, H, W)`` uint8 images."""
        x = self._normalize(images).contiguous(memory_format=torch.channels_last)
        return self._model(x, upsample=False)


def distillation(logits: torch.Tensor, teacher_logits: torch.Tensor, align_corners: bool = False) -> torch.Tensor:
    """Kullback-Leibler divergence of the student's classes from the teacher's, mean over pixels.

    Args:
        logits: ``(N, K, H, W)`` of the student.
        teacher_logits: ``(N, K, h, w)``; resized to ``(H, W)``.
        align_corners: how the teacher resizes.
    """
    wanted = F.interpolate(teacher_logits.float(), size=logits.shape[-2:], mode="bilinear", align_corners=align_corners)
    divergence = F.kl_div(logits.float().log_softmax(1), wanted.log_softmax(1), reduction="none", log_target=True)
    return divergence.sum(1).mean()
