"""Distillation (Hinton et al., 2015): the output of a trained model as a second target for each pixel."""

import torch
from torch.nn import functional as F

from ...labels.own import numbered_labels
from ...models.folding import fuse
from ...zoo.factory import trained_model


class Teacher:
    """A trained model whose logits another model learns from; it is not trained itself.

    Args:
        source: a name with published weights, or the path of one of srzoo's ``.safetensors`` files.
        classes: names of the classes of the model that learns from it.
        device: the device to run on.

    Raises:
        ValueError: there are no such weights, or they are for other classes.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, source: str, classes: tuple[str, ...], device: torch.device):
        model = trained_model(source)
        own = model.config.classes
        if len(own) != len(classes):
            raise ValueError(f"the teacher {source} has {len(own)} classes, but the model has {len(classes)}")
        if numbered_labels(len(own)).classes not in (own, classes):  # unless one has numbers in place of names
            for i, (theirs, ours) in enumerate(zip(own, classes)):
                if theirs != ours:
                    raise ValueError(
                        f"class {i} is {theirs!r} in the teacher {source}, but {ours!r} in the model; choose a teacher "
                        "with the same classes"
                    )
        self._normalize, self.align_corners = model.config.transform.normalize, model.align_corners
        self._model = fuse(model.eval()).to(device, memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, K, h, w)`` logits, at the teacher's own resolution, of ``(N, 3, H, W)`` uint8 RGB images."""
        x = self._normalize(images).contiguous(memory_format=torch.channels_last)
        return self._model(x, upsample=False)


def distillation(logits: torch.Tensor, teacher_logits: torch.Tensor, align_corners: bool = False) -> torch.Tensor:
    """Kullback-Leibler divergence from the student's class probabilities to the teacher's, averaged over pixels.

    This is Hinton et al.'s loss at temperature 1. It has a gradient for ``logits`` only if the teacher's have none.

    Args:
        logits: ``(N, K, H, W)`` logits of the student.
        teacher_logits: ``(N, K, h, w)`` logits of the teacher; they are resized to ``(H, W)``.
        align_corners: as in ``torch.nn.functional.interpolate``, for this resize.

    Returns:
        A float32 scalar, 0 or more.
    """
    wanted = F.interpolate(teacher_logits.float(), size=logits.shape[-2:], mode="bilinear", align_corners=align_corners)
    divergence = F.kl_div(logits.float().log_softmax(1), wanted.log_softmax(1), reduction="none", log_target=True)
    return divergence.sum(1).mean()
