"""The losses of semantic segmentation that PyTorch does not have."""

import torch
from torch.nn import functional as F

from srzoo_kernels import upsample_cross_entropy

from ..data.labels import IGNORE


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


class SegmentationLoss:
    """Weighted cross-entropy at full resolution, Lovasz-Softmax at the head's, cross-entropy of the auxiliary head.

    Attributes:
        class_weights: ``(K,)``.
        lovasz, aux: weights of those terms.
        align_corners: how the model resizes its logits.
    """

    def __init__(self, class_weights: torch.Tensor, lovasz: float, aux: float, align_corners: bool = False):
        self.class_weights, self.lovasz, self.aux, self.align_corners = class_weights, lovasz, aux, align_corners

    def __call__(self, logits: torch.Tensor, aux_logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of logits at any resolution against ``(N, H, W)`` targets."""
        loss = self._cross_entropy(logits, target)
        if self.aux:
            loss = loss + self.aux * self._cross_entropy(aux_logits, _nearest(target, aux_logits))
        if self.lovasz:
            loss = loss + self.lovasz * lovasz_softmax(logits, _nearest(target, logits))
        return loss

    def _cross_entropy(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return upsample_cross_entropy(logits, target, IGNORE, self.class_weights, align_corners=self.align_corners)


def _nearest(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The target at the logits' resolution."""
    return F.interpolate(target[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()


def class_weights(shares: torch.Tensor, floor: float = 1.05) -> torch.Tensor:
    """``1 / ln(floor + share)`` of each class (ENet, Paszke et al., 2016), scaled to a mean of 1."""
    weights = 1 / torch.log(floor + shares)
    return weights / weights.mean()
