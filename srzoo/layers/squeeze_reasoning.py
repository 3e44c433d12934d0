"""The block of the paper: squeeze, reason, reconstruct."""

import torch
from torch import nn

from srzoo_kernels import channel_affine, gram
from srzoo_kernels.autocast import no_autocast
from srzoo_kernels.checks import check_feature_map

from .checks import check_choice, check_whole
from .moments import MomentBlock, Moments
from .reasoning import REASONING

SQUEEZE = ("hadamard", "average")


class SqueezeReasoning(MomentBlock):
    """Squeeze Reasoning (arXiv 2011.03308, Eq. 4 to 7): ``Y = X + W_R (z * T)``, ``z = reason(squeeze(X))``.

    With ``T = W_t X`` and ``B = W_p X`` the reduced maps (``R = channels / reduction``), the squeeze is the mean
    over the pixels of ``T * B`` ("hadamard", Eq. 4 divided by the number of pixels, which float16 needs) or of
    ``T`` ("average"). The reasoning works on the ``nodes`` groups of that vector (Eq. 5, Eq. 6, Table 2).

    ``forward`` never stores ``T``, ``B`` or ``z * T``: the squeeze is a function of ``X X^T`` and ``X 1``, the
    reconstruction one ``C x C`` matrix per image (see ``kernels/README.md``). ``forward_direct`` follows the
    equations step by step; both give the same values and gradients. Table 1: computation ``O(C HW + C)``, affinity
    memory ``O(K^2 + M^2)`` for ``K`` nodes of ``M`` features each.

    ``W_R`` starts at zero, so a new block is the identity and can be put into a trained network.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C / R``; the paper's default is 2.
        nodes: number of groups ``k``; the paper's default is 16.
        squeeze: "hadamard" or "average".
        reasoning: "graph" (Eq. 5), "attention" (Eq. 6), "fc" or "none".

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, any floating dtype, ``H, W >= 1``. The statistics and the reasoning
        are computed in float32 under autocast too, and in a block that was converted to a half precision.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or ``R`` not by ``nodes``; an unknown choice.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 2,
        nodes: int = 16,
        squeeze: str = "hadamard",
        reasoning: str = "graph",
    ):
        super().__init__()
        check_whole(channels=channels, reduction=reduction, nodes=nodes)
        if channels % reduction:
            raise ValueError(f"channels={channels} is not divisible by reduction={reduction}")
        reduced = channels // reduction
        if reduced % nodes:
            raise ValueError(
                f"channels/reduction = {channels}/{reduction} = {reduced} is not divisible by nodes={nodes}"
            )
        check_choice("squeeze", squeeze, SQUEEZE)
        check_choice("reasoning", reasoning, REASONING)
        self.channels, self.reduction, self.nodes, self.squeeze = channels, reduction, nodes, squeeze
        self.transform = nn.Conv2d(channels, reduced, 1, bias=False)  # W_t
        self.pair = nn.Conv2d(channels, reduced, 1, bias=False) if squeeze == "hadamard" else None  # W_p
        self.reasoning = REASONING[reasoning](nodes, reduced // nodes)
        self.project = nn.Conv2d(reduced, channels, 1, bias=False)  # W_R
        nn.init.zeros_(self.project.weight)

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}, nodes={self.nodes}, squeeze={self.squeeze!r}"

    def moments(self, x: torch.Tensor) -> Moments:
        """Of ``x`` ``(N, C, H, W)``, without the second for the average."""
        pixels = x.shape[2] * x.shape[3]
        if self.pair is None:
            # Widened first, as a sum over a large float16 map overflows.
            return Moments(None, x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32)), pixels)
        return Moments(*gram(x), pixels)

    def squeeze_vector(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """``g``, the squeezed vector ``(N, R)`` before any reasoning; arguments as of ``forward``."""
        moments = self._moments_for(x, moments)
        w_t = self.transform.weight.flatten(1)
        if self.pair is None:
            mean = moments.mean
            return (mean @ w_t.mT.to(mean.dtype)).to(w_t.dtype)
        second = moments.second / moments.pixels
        w_p = self.pair.weight.flatten(1)
        return ((w_t.to(second.dtype) @ second) * w_p.to(second.dtype)).sum(2).to(w_t.dtype)

    def affine(self, z: torch.Tensor) -> torch.Tensor:
        """``M = W_R diag(z) W_t``, ``(N, C, C)``, for the reasoned vector ``z`` ``(N, R)``."""
        return (self.project.weight.flatten(1) * z[:, None, :]) @ self.transform.weight.flatten(1)

    def forward(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """``Y`` for ``x``, with the context of the map that ``moments`` are of; of ``x`` itself without them."""
        check_feature_map(x, channels=self.channels)
        with no_autocast(x.device.type):
            matrix = self.affine(self.reasoning(self.squeeze_vector(x, moments)))
            return channel_affine(x, matrix)

    def forward_direct(self, x: torch.Tensor) -> torch.Tensor:
        """The same block as the paper writes it, at full resolution: the form to compare with and to count."""
        t = self.transform(x)
        g = (t if self.pair is None else t * self.pair(x)).mean((2, 3))
        z = self.reasoning(g)
        return x + self.project(t * z[:, :, None, None])
