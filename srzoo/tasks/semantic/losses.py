"""The losses of semantic segmentation, as far as PyTorch does not have them."""

import torch
from torch.nn import functional as F

from srzoo_kernels import upsample_cross_entropy

from ...labels import IGNORE


def lovasz_softmax(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = IGNORE) -> torch.Tensor:
    """Lovasz-Softmax (Berman et al., 2018, Eq. 11), over all pixels of the batch and the classes present in it.

    Args:
        logits: ``(N, K, H, W)``, any floating dtype.
        target: ``(N, H, W)`` integer class ids.
        ignore_index: class id of unlabelled pixels.

    Returns:
        A float32 scalar in 0..1; 0, with a gradient of 0, if no pixel is labelled.
    """
    # P labelled pixels and C present classes: probabilities (K, P), target (P,), and from is_class on (C, P).
    probabilities = logits.float().softmax(1).movedim(1, 0).flatten(1)
    target = target.flatten()
    valid = target != ignore_index
    probabilities, target = probabilities[:, valid], target[valid]
    present = target.bincount(minlength=logits.shape[1]).nonzero().flatten()
    if not len(present):
        return probabilities.sum()
    is_class = (target == present[:, None]).float()
    errors, order = (is_class - probabilities[present]).abs().sort(1, descending=True)
    # jaccard[c, i] is the Jaccard loss of class c if its i + 1 pixels of largest error are wrong and all others right.
    # For is_class 1 0 1 in the order of their errors: intersection 1 1 0, union 2 3 3, jaccard 1/2 2/3 1.
    is_class = is_class.gather(1, order)
    total = is_class.sum(1, keepdim=True)
    intersection = total - is_class.cumsum(1)
    union = total + (1 - is_class).cumsum(1)
    jaccard = 1 - intersection / union
    # The weight of each error is the increase of the Jaccard loss (Eq. 9): 1/2 1/6 1/3 in the example.
    jaccard[:, 1:] = jaccard[:, 1:] - jaccard[:, :-1].clone()
    return (errors * jaccard).sum(1).mean()


def dice(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = IGNORE) -> torch.Tensor:
    """Soft Dice loss, over all pixels of the batch and the classes present in it.

    As in Milletari et al. (2016), with plain instead of squared sums in the denominator.

    Args:
        logits: ``(N, K, H, W)``, any floating dtype.
        target: ``(N, H, W)`` int64 class ids.
        ignore_index: class id of unlabelled pixels.

    Returns:
        A float32 scalar in 0..1; 0, with a gradient of 0, if no pixel is labelled.
    """
    probabilities = logits.float().softmax(1)
    # (N, H, W, K): ignored pixels become class K, which is cut off.
    truth = F.one_hot(target.where(target != ignore_index, logits.shape[1]), logits.shape[1] + 1)[..., :-1]
    truth = truth.movedim(-1, 1).float()
    probabilities = probabilities * truth.sum(1, keepdim=True)  # 0 where the target is ignored
    hit, total = (probabilities * truth).sum((0, 2, 3)), (probabilities + truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    return ((1 - 2 * hit / total.clamp(min=1e-6)) * present).sum() / present.sum().clamp(min=1)


def focal(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None, gamma: float = 2.0
) -> torch.Tensor:
    """Focal loss (Lin et al., 2017, Eq. 4) of the softmax, averaged as the weighted cross-entropy is.

    Args:
        logits: ``(N, K, H, W)``, any floating dtype.
        target: ``(N, H, W)`` int64 class ids, 255 for unlabelled pixels.
        weights: ``(K,)`` weights of the classes.
        gamma: exponent; 0 gives the cross-entropy.

    Returns:
        A float32 scalar; 0, with a gradient of 0, if no pixel is labelled.
    """
    entropy = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="none")
    # exp(-entropy) is the probability of the right class. The clamp keeps the gradient of the power finite at 0.
    each = (1 - (-entropy).exp()).clamp(min=1e-8) ** gamma * entropy
    return _mean(each, target, weights)


def binary_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Sum of the binary cross-entropies of each class against the others; arguments and result as of `focal`."""
    classes = logits.shape[1]
    truth = F.one_hot(target.where(target != IGNORE, 0), classes).movedim(-1, 1).float()
    each = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none").sum(1)
    return _mean(each, target, weights)


def _mean(each: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Mean of ``(N, H, W)`` losses over the labelled pixels, weighted by their classes."""
    valid = target != IGNORE
    weight = valid.float() if weights is None else valid * weights[target.where(valid, 0)]
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


class SegmentationLoss:
    """A loss of each pixel, by default cross-entropy, and optionally of the auxiliary head, Lovasz-Softmax and Dice.

    The losses of pixels are computed at the resolution of the target, Lovasz-Softmax and Dice at that of the logits.

    Args:
        class_weights: ``(K,)`` weights of the classes in the cross-entropies, or None.
        lovasz: weight of Lovasz-Softmax; 0 to leave it out.
        dice: weight of the Dice loss; 0 to leave it out.
        aux: weight of the cross-entropy of the auxiliary head; 0 to leave it out.
        ohem: ``(threshold, min_kept)`` of online hard example mining in the main cross-entropy, or None; see
            `srzoo_kernels.upsample_cross_entropy`.
        label_smoothing: of the cross-entropies.
        align_corners: as in ``torch.nn.functional.interpolate``, for the resize of the logits in the cross-entropies.
        kind: "cross_entropy", "focal" or "bce"; the auxiliary head has the same.
        gamma: exponent of the focal loss.
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
        kind: str = "cross_entropy",
        gamma: float = 2.0,
    ):
        self.kind, self.gamma = kind, gamma
        self.class_weights, self.lovasz, self.dice, self.aux = class_weights, lovasz, dice, aux
        self.ohem, self.label_smoothing, self.align_corners = ohem, label_smoothing, align_corners

    def __call__(
        self, logits: torch.Tensor, aux_logits: torch.Tensor | None, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss by name, scalars with their weights applied.

        Args:
            logits: ``(N, K, h, w)`` logits of the head, at any resolution.
            aux_logits: ``(N, K, h', w')`` logits of the auxiliary head; not used if ``aux`` is 0.
            target: ``(N, H, W)`` int64 class ids, 255 for unlabelled pixels.
        """
        losses = {self.kind: self._of_pixels(logits, target, self.ohem)}
        if self.aux:
            losses["aux"] = self.aux * self._of_pixels(aux_logits, _nearest(target, aux_logits))
        if self.lovasz:
            losses["lovasz"] = self.lovasz * lovasz_softmax(logits, _nearest(target, logits))
        if self.dice:
            losses["dice"] = self.dice * dice(logits, _nearest(target, logits))
        return losses

    def _of_pixels(self, logits: torch.Tensor, target: torch.Tensor, ohem=None) -> torch.Tensor:
        if self.kind != "cross_entropy":
            size, corners = target.shape[-2:], self.align_corners
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=corners)
            if self.kind == "bce":
                return binary_cross_entropy(logits, target, self.class_weights)
            return focal(logits, target, self.class_weights, self.gamma)
        return upsample_cross_entropy(
            logits, target, IGNORE, self.class_weights, self.label_smoothing, ohem, self.align_corners
        )


def _nearest(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The target at the resolution of the logits, ``(N, H, W)`` to ``(N, h, w)`` int64."""
    return F.interpolate(target[:, None].float(), size=logits.shape[-2:], mode="nearest-exact")[:, 0].long()
