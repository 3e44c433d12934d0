"""Compact generalized non-local block, "cgnl"."""

import math
from collections import OrderedDict

import torch
from torch import nn

from .attention import ProjectedContext
from .checks import check_choice, check_whole, divided

KERNELS = ("dot", "rbf")
_GAMMA = 1e-4  # of the authors' code
_EPS = 1e-16  # PyTorch's 1e-5 divided by the square of the elements in a sum, which are 300,000 at 96x96


class CompactGeneralizedNonLocal(ProjectedContext):
    """Compact generalized non-local block (Yue et al., 2018): attention between all channels of all pixels.

    ``Y = X + GroupNorm(W_z K(theta, phi) g)``, where ``theta``, ``phi`` and ``g`` are vectors of ``R HW / groups``
    elements for each group. The kernel is a polynomial of the product, ``k(a, b) = sum_p c_p (a b)^p``, so the matrix
    ``K`` is never needed: ``(K g)_i = sum_p c_p theta_i^p sum_j phi_j^p g_j``, with one number for each power and
    group. "dot" is the product itself. "rbf" is the Taylor series of the Gaussian up to ``order``, with
    ``c_p = exp(-2 gamma) (2 gamma)^p / p!``; like the authors' code it assumes vectors of length one. Table 1 of arXiv
    2011.03308: computation ``O(C HW P)``, affinity memory ``O(P^2)``, where ``P`` is the order.

    The sums over ``j`` are computed as means, because float16 overflows otherwise. The GroupNorm removes this factor.
    Its ``eps`` is therefore small: PyTorch's 1e-5 would dominate the variance of the means and damp the module. ``W_z``
    has no groups, which gives the parameters in Table 3. The GroupNorm's scale starts at zero, so a new module is the
    identity.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C / R``.
        groups: number of groups of channels, each with its own attention; also those of the GroupNorm.
        kernel: "dot" or "rbf".
        order: of the Taylor series for "rbf", at least 1.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype. The sums are computed in float32 under
        autocast too.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or ``channels / reduction`` by ``groups``; an
            unknown kernel; an order below 1.
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
        # theta, phi and g are (N, groups, R / groups, HW); a moment is (N, groups, 1, 1).
        wide = torch.promote_types(g.dtype, torch.float32)
        attended = torch.zeros((), dtype=theta.dtype, device=theta.device)
        for power, coefficient in self.series:
            moment = (_power(phi, power) * g).mean((2, 3), keepdim=True, dtype=wide)
            attended = attended + (coefficient * moment).to(theta.dtype) * _power(theta, power)
        return attended.flatten(1, 2)


def _power(x: torch.Tensor, power: int) -> torch.Tensor | float:
    """``x ** power``, where the powers 0 and 1 read nothing."""
    return 1.0 if power == 0 else x if power == 1 else x**power
