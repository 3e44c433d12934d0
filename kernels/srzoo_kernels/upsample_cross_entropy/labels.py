"""Which pixels the loss learns from."""

import torch

IGNORED = -1
_UNLABELLED = 2.0  # in place of a probability, where there is no label: above every threshold


def check_labels(target: torch.Tensor, classes: int, ignore_index: int = 255) -> None:
    """Refuse labels that are neither a class nor ``ignore_index``. Waits for the device.

    On a GPU `upsample_cross_entropy` does not look, and gives NaN for such a label; this tells which it was.

    Args:
        target: ``(N, H, W)``, of any integer dtype.
        classes: their number.
        ignore_index: the id of unlabelled pixels.

    Raises:
        ValueError: some labels are not in ``0 .. classes - 1``; the message has their values and number. Or they are
            no integers.
    """
    if target.is_floating_point() or target.is_complex() or target.dtype is torch.bool:
        raise ValueError(f"expected target of an integer dtype, got {target.dtype}; convert it first with .long()")
    _, wrong = ids_and_wrong(target, classes, ignore_index)
    if wrong.any():
        found = target[wrong].unique()
        values = ", ".join(map(str, found[:8].tolist())) + (", ..." if len(found) > 8 else "")
        allowed = f"0..{classes - 1} or ignore_index={ignore_index}"
        raise ValueError(f"labels must be {allowed}, but {int(wrong.sum())} pixels have: {values}")


def ids_and_wrong(target: torch.Tensor, classes: int, ignore_index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels of ``target`` ``(N, H, W)`` in int64, `IGNORED` where they are no class, and where that is wrong."""
    # int64 first: a comparison of uint8 with a number beyond 255 wraps the number.
    target = target.long()
    is_class = (target >= 0) & (target < classes)
    labelled = target != ignore_index
    return target.where(is_class & labelled, IGNORED), labelled & ~is_class


def hard_pixels(probability: torch.Tensor, labelled: torch.Tensor, threshold: float, min_kept: int) -> torch.Tensor:
    """Online hard example mining (Shrivastava et al., 2016), as segmentation uses it: which pixels the loss keeps.

    Args:
        probability: ``(N, H, W)``, of the true class.
        labelled: ``(N, H, W)`` bool.
        threshold: keep every labelled pixel below this probability ...
        min_kept: ... and at least this many of the batch, those of the lowest probability; ties may keep more.

    Returns:
        ``(N, H, W)`` bool, true on labelled pixels only.
    """
    keep = probability < threshold
    if min_kept > 0 and probability.numel() > 0:
        keep |= probability <= lowest(probability.where(labelled, _UNLABELLED), min_kept)
    return keep & labelled


def lowest(probability: torch.Tensor, count: int) -> torch.Tensor:
    """The largest of the ``count`` lowest probabilities, or of all if there are fewer, ``()``.

    Does not wait for the device, as counting the labelled pixels would: those without a label have 2, and so where too
    few are labelled all of them are below the result.
    """
    flat = probability.flatten()
    # Not kthvalue, which torch.use_deterministic_algorithms refuses on CUDA.
    return flat.topk(min(count, len(flat)), largest=False, sorted=False).values.amax()
