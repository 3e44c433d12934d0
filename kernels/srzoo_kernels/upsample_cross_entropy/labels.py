"""Which pixels the loss learns from."""

import torch

IGNORED = -1


def class_ids(target: torch.Tensor, classes: int, ignore_index: int) -> torch.Tensor:
    """The labels of ``target`` ``(N, H, W)`` in int64, with `IGNORED` where they are ``ignore_index``.

    Waits for the device, to check that every label is a class.

    Raises:
        ValueError: another value is not in ``0 .. classes - 1``.
    """
    # int64 first: a comparison of uint8 with a number beyond 255 wraps the number.
    target = target.long()
    ids = target.where(target != ignore_index, IGNORED)
    wrong = (ids >= classes) | ((ids < 0) & (target != ignore_index))
    if wrong.any():
        found = target[wrong].unique()
        values = ", ".join(map(str, found[:8].tolist())) + (", ..." if len(found) > 8 else "")
        allowed = f"0..{classes - 1} or ignore_index={ignore_index}"
        raise ValueError(f"labels must be {allowed}, but {int(wrong.sum())} pixels have: {values}")
    return ids


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
    candidates = probability[labelled]
    if min_kept >= len(candidates):
        return labelled
    keep = probability < threshold
    if min_kept > 0:
        # Not kthvalue, which torch.use_deterministic_algorithms refuses on CUDA.
        keep |= probability <= candidates.topk(min_kept, largest=False, sorted=False).values.amax()
    return keep & labelled
