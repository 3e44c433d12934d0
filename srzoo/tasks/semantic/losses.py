"""The losses of semantic segmentation that PyTorch does not have."""

import torch
from torch.nn import functional as F

from srzoo_kernels import upsample_cross_entropy

from ...labels import IGNORE


def lovasz_softmax(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = IGNORE) -> torch.Tensor:
    """Lovasz-Softmax (Berman et al., 2018, Eq. 11), over the batch's pixels and the classes present in it.

    Args:
        logits: ``(N, K, H, W)``.
        target: ``(N, H, W)`` class ids.

    Returns:
        A scalar; zero, with a gradient of zero, where no pixel has a class.
    """
    probabilities = logits.float().softmax(1).movedim(1, 0).flatten(1)
    target = target.flatten()
    valid = target != ignore_index
    probabilities, target = probabilities[:, valid], target[valid]
    present = target.bincount(minlength=logits.shape[1]).nonzero().flatten()
    if not len(present):
        return probabilities.sum()
    is_class = (target == present[:, None]).float()
    errors, order = (is_class - probabilities[present]).abs().sort(1, descending=True)
    is_class = is_class.gather(1, order)
    total = is_class.sum(1, keepdim=True)
    intersection = total - is_class.cumsum(1)
    union = total + (1 - is_class).cumsum(1)
    jaccard = 1 - intersection / union
    # The gradient of the Lovasz extension is the discrete derivative of the Jaccard loss.
    jaccard[:, 1:] = jaccard[:, 1:] - jaccard[:, :-1].clone()
    return (errors * jaccard).sum(1).mean()


def dice(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = IGNORE) -> torch.Tensor:
    """Soft Dice (Milletari et al., 2016, with plain sums below), over the batch's pixels and the classes in it.

    Args:
        logits: ``(N, K, H, W)``.
        target: ``(N, H, W)`` class ids.

    Returns:
        A scalar in 0..1; zero, with a gradient of zero, where no pixel has a class.
    """
    probabilities = logits.float().softmax(1)
    truth = F.one_hot(target.where(target != ignore_index, logits.shape[1]), logits.shape[1] + 1)[..., :-1]
    truth = truth.movedim(-1, 1).float()
    probabilities = probabilities * truth.sum(1, keepdim=True)  # not where the target is ignored
    hit, total = (probabilities * truth).sum((0, 2, 3)), (probabilities + truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    return ((1 - 2 * hit / total.clamp(min=1e-6)) * present).sum() / present.sum().clamp(min=1)


class SegmentationLoss:
    """Cross-entropy at full resolution, Lovasz-Softmax and Dice at the head's, cross-entropy of the auxiliary head.

    Args:
        class_weights: ``(K,)`` or None, for the cross-entropies.
        lovasz, dice, aux: weights of those terms.
        ohem: ``(threshold, min_kept)`` for the main cross-entropy, or None.
        label_smoothing: for the cross-entropies.
        align_corners: how the model resizes its logits.
    """

    def __init__(
        self,
        class_weights: torch.Tensor | None = None,
        lovasz: float = 0.0,
        dice: float = 0.0,
        aux: float = 0.0,
        ohem: tuple[float, int] | None = None,
        label_smoothing: float = 0.0,
        align_corners: bool = False,
    ):
        self.class_weights, self.lovasz, self.dice, self.aux = class_weights, lovasz, dice, aux
        self.ohem, self.label_smoothing, self.align_corners = ohem, label_smoothing, align_corners

    def __call__(
        self, logits: torch.Tensor, aux_logits: torch.Tensor | None, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The losses with their weights applied, by name.

        Args:
            logits, aux_logits: ``(N, K, h, w)`` at any resolution; the auxiliary head's only where they have a weight.
            target: ``(N, H, W)`` int64 class ids.
        """
        losses = {"cross_entropy": self._cross_entropy(logits, target, self.ohem)}
        if self.aux:
            losses["aux"] = self.aux * self._cross_entropy(aux_logits, _nearest(target, aux_logits))
        if self.lovasz:
            losses["lovasz"] = self.lovasz * lovasz_softmax(logits, _nearest(target, logits))
        if self.dice:
            losses["dice"] = self.dice * dice(logits, _nearest(target, logits))
        return losses

    def _cross_entropy(self, logits: torch.Tensor, target: torch.Tensor, ohem=None) -> torch.Tensor:
        return upsample_cross_entropy(
            logits, target, IGNORE, self.class_weights, self.label_smoothing, ohem, self.align_corners
        )


def _nearest(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The target at the logits' resolution."""
    return F.interpolate(target[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
