"""Compact generalized non-local block, "cgnl"."""

import math
from collections import OrderedDict

import torch
from torch import nn

from .attention import ProjectedContext
from .checks import check_choice, check_whole, divided

KERNELS = ("dot", "rbf")
_GAMMA = 1e-4  # of the authors' code
_EPS = 1e-16  # about 1e-5 over the square of the number of elements in a sum, which is 300,000 at 96x96


class CompactGeneralizedNonLocal(ProjectedContext):
    """Compact generalized non-local block (Yue et al., 2018): every channel of every pixel attends.

    ``Y = X + GroupNorm(W_z K(theta, phi) g)`` with ``theta``, ``phi`` and ``g`` as vectors of ``R HW / groups``
    elements. A kernel that is a polynomial of the product, ``k(a, b) = sum_p c_p (a b)^p``, needs one number for each
    power and group, ``sum_j phi_j^p g_j``. "dot" is the product itself. "rbf" is the Gaussian's Taylor series up to
    ``order``, ``c_p = exp(-2 gamma) (2 gamma)^p / p!`` with the norms taken for one, as in the authors' code. Table 1
    of arXiv 2011.03308: computation ``O(C HW P)``, affinity memory ``O(P^2)``, ``P`` the order.

    The sums are means here, which float16 needs. The GroupNorm takes that out again, as its ``eps`` is small enough
    for the variance of a mean: with PyTorch's 1e-5 it would damp the block, the more the smaller its input. ``W_z``
    has no groups, which gives Table 3's parameters; the GroupNorm's scale starts at zero, so a new block is the
    identity.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C / R``.
        groups: of channels that attend apart, and of the GroupNorm.
        kernel: "dot" or "rbf".
        order: of the Taylor series, at least 1; only "rbf" has one.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``. The sums are float32 under autocast too.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or what that gives by ``groups``; an unknown
            kernel; an order below 1.
    """

    def __init__(self, channels: int, reduction: int = 2, groups: int = 8, kernel: str = "dot", order: int = 3):
        super().__init__(channels, reduction)
        divided(channels // reduction, groups, "groups")
        check_choice("kernel", kernel, KERNELS)
        check_whole(order=order)
        self.groups = groups
        taylor = [(p, math.exp(-2 * _GAMMA) * (2 * _GAMMA) ** p / math.factorial(p)) for p in range(order + 1)]
        self.series = [(1, 1.0)] if kernel == "dot" else taylor
        self.project = nn.Sequential(
            OrderedDict(
                conv=nn.Conv1d(channels // reduction, channels, 1, bias=False),
                norm=nn.GroupNorm(groups, channels, _EPS),
            )
        )
        nn.init.zeros_(self.project.norm.weight)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        theta, phi, g = (each.flatten(2).unflatten(1, (self.groups, -1)) for each in (query, key, value))
        wide = torch.promote_types(g.dtype, torch.float32)
        attended = torch.zeros((), dtype=theta.dtype, device=theta.device)
        for power, coefficient in self.series:
            moment = (_power(phi, power) * g).mean((2, 3), keepdim=True, dtype=wide)
            attended = attended + (coefficient * moment).to(theta.dtype) * _power(theta, power)
        return attended.flatten(1, 2)


def _power(x: torch.Tensor, power: int) -> torch.Tensor | float:
    """``x ** power`` without a pass over ``x`` where it needs none."""
    return 1.0 if power == 0 else x if power == 1 else x**power
