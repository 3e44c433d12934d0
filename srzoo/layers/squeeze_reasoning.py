"""The block of arXiv 2011.03308: squeeze, reason, reconstruct."""

import math

import torch
from torch import fx, nn
from torch.nn import functional as F

from srzoo_kernels import channel_affine, gram, squeeze_reasoning
from srzoo_kernels.autocast import no_autocast
from srzoo_kernels.checks import check_feature_map, check_finite
from srzoo_kernels.operators import is_transformed

from .checks import check_choice, check_whole
from .leaf import as_leaf
from .moments import MomentBlock, Moments
from .parameters import parameter_of
from .reasoning import REASONING, GraphReasoning

SQUEEZE = ("hadamard", "average")
# Pixels per channel below which the reduced maps are cheaper than the C x C matrices; see bench/dispatch.py.
_FEW = 4
_REASONING = tuple(REASONING.values())
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # of a module


class SqueezeReasoning(MomentBlock):
    """Squeeze Reasoning (arXiv 2011.03308, Eq. 4 to 7): ``Y = X + W_R (z * T)``, ``z = reason(squeeze(X))``.

    ``T = W_t X`` and ``B = W_p X`` are the reduced maps of ``R = C / reduction`` channels. The squeeze is the mean over
    the pixels of ``T * B`` ("hadamard") or of ``T`` ("average"). Eq. 4 has the sum; it is divided by the number of
    pixels here, because float16 overflows otherwise. The reasoning works on the vector in ``nodes`` groups (Eq. 5,
    Eq. 6, Table 2).

    ``forward`` never stores ``T``, ``B`` or ``z * T``. The squeeze is a function of ``X X^T`` and ``X 1``, and the
    reconstruction is one ``C x C`` matrix per image (see ``kernels/README.md``). This pays where there are many pixels
    for the channels; for a map of fewer than ``4 C`` pixels, as in the last stage of a detector, ``forward`` computes
    ``T`` and ``B``, which are small there. ``forward_direct`` follows the equations step by step at any size. All give
    the same values and gradients. Table 1: computation ``O(C HW + C)``, affinity memory ``O(K^2 + M^2)`` for ``K``
    nodes of ``M`` features each. ``transform``, ``pair`` and ``project`` are called by ``forward_direct`` alone, so
    hooks on these run there only.

    ``W_R`` starts at zero, so a new block is the identity and can be added to a trained network. ``W_p`` starts as a
    copy of ``W_t``: the squeezed vector then is the energy of each reduced channel, which is positive, so that no ReLU
    of the reasoning starts dead.

    Args:
        channels: ``C`` of the input and the output.
        reduction: ``C / R``; 2 in the paper.
        nodes: number of groups ``k``; 16 in the paper.
        squeeze: "hadamard" or "average".
        reasoning: "graph" (Eq. 5), "attention" (Eq. 6), "fc" or "none".

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, any floating dtype, ``H, W >= 1``. The statistics and the reasoning
        are computed in float32 under autocast too, and in a block that was converted to half precision.

    Raises:
        ValueError: ``channels`` is not divisible by ``reduction``, or ``R`` by ``nodes``; an unknown ``squeeze`` or
            ``reasoning``. In ``forward`` on a CPU: an input, squeezed vector or matrix that is not finite.
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
                f"channels/reduction = {channels}/{reduction} = {reduced} is not divisible by nodes={nodes}; "
                f"pass nodes={math.gcd(reduced, nodes)}"
            )
        check_choice("squeeze", squeeze, SQUEEZE)
        check_choice("reasoning", reasoning, REASONING)
        self.channels, self.reduction, self.nodes, self.squeeze = channels, reduction, nodes, squeeze
        self.transform = nn.Conv2d(channels, reduced, 1, bias=False)  # W_t
        self.pair = nn.Conv2d(channels, reduced, 1, bias=False) if squeeze == "hadamard" else None  # W_p
        self.reasoning = REASONING[reasoning](nodes, reduced // nodes)
        self.project = nn.Conv2d(reduced, channels, 1, bias=False)  # W_R
        nn.init.zeros_(self.project.weight)
        if self.pair is not None:
            with torch.no_grad():
                self.pair.weight.copy_(self.transform.weight)

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}, nodes={self.nodes}, squeeze={self.squeeze!r}"

    def moments(self, x: torch.Tensor) -> Moments:
        """The moments of ``x`` ``(N, C, H, W)``; without the second moment if the squeeze is "average"."""
        pixels = x.shape[2] * x.shape[3]
        if self.pair is None:
            # Summed in float32 or wider, as a sum over a large float16 map overflows.
            return Moments(None, x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32)), pixels)
        return Moments(*gram(x), pixels)

    def squeeze_vector(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """The squeezed vector ``g`` ``(N, R)`` of Eq. 4, float32 or wider; arguments as in ``forward``."""
        moments = self._moments_for(x, moments)
        w_t = parameter_of(self.transform).flatten(1)
        wide = torch.promote_types(moments.first.dtype, w_t.dtype)
        if self.pair is None:
            return moments.mean.to(wide) @ w_t.mT.to(wide)
        # g_r = 1/HW sum_p (t_r x_p)(b_r x_p) = t_r (X X^T / HW) b_r^T, with t_r and b_r the rows of W_t and W_p.
        second = (moments.second / moments.pixels).to(wide)
        w_p = parameter_of(self.pair).flatten(1)
        return ((w_t.to(wide) @ second) * w_p.to(wide)).sum(2)

    def affine(self, z: torch.Tensor) -> torch.Tensor:
        """``M = W_R diag(z) W_t``, ``(N, C, C)``, for the reasoned vector ``z`` ``(N, R)``; Eq. 7 is ``X + M X``."""
        project, transform = (parameter_of(layer).flatten(1).to(z.dtype) for layer in (self.project, self.transform))
        return (project * z[:, None, :]) @ transform

    def forward(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """``Y`` for ``x``.

        Args:
            x: ``(N, C, H, W)``.
            moments: of the map that the context is taken from, e.g. of the whole image if ``x`` is a tile; default
                those of ``x``.
        """
        if isinstance(x, fx.Proxy):
            return as_leaf(self, x, moments)
        check_feature_map(x, channels=self.channels)
        moments = self.given_or(moments)
        if self.is_one_operator(x, moments):
            return squeeze_reasoning(x, *self.weights("transform", "pair", "project"))
        with no_autocast(x.device.type):
            if moments is None and self.has_few_pixels(x):
                t, z = self._reason_few(x)
                if z.dtype != x.dtype:
                    z = z.to(x.dtype)
                    if not torch.compiler.is_compiling():
                        check_finite(z=z)  # again, as float16 holds less
                return x + F.conv2d(t * z[:, :, None, None], parameter_of(self.project).to(x.dtype))
            return channel_affine(x, self.affine(self.reasoned(self.squeeze_vector(x, moments))))

    def reason(self, x: torch.Tensor) -> torch.Tensor:
        """The reasoned vector ``z`` ``(N, R)`` for ``x`` ``(N, C, H, W)``, in the form that is cheaper at its size."""
        moments = self.given_or(None)
        if moments is None and self.pair is not None and self.has_few_pixels(x):
            return self._reason_few(x)[1]
        return self.reasoned(self.squeeze_vector(x, moments))

    def reasoned(self, g: torch.Tensor) -> torch.Tensor:
        """``z`` ``(N, R)`` for the squeezed vector ``g`` ``(N, R)``, in its dtype."""
        if isinstance(self.reasoning, _REASONING):
            return self.reasoning(g)
        return self.reasoning(g.to(self.transform.weight.dtype)).to(g.dtype)  # a module of a user's own

    def weights(self, *layers: str) -> tuple[torch.Tensor, ...]:
        """The weights of these layers, and ``A_g`` and ``W_g`` of a graph reasoning."""
        modules, reasoning = self._modules, self._modules["reasoning"]
        return (
            *[parameter_of(modules[name]) for name in layers],
            parameter_of(reasoning, "adjacency"),
            parameter_of(reasoning, "weight"),
        )

    def is_one_operator(self, x: torch.Tensor, moments: Moments | None) -> bool:
        """Whether `squeeze_reasoning` computes what ``forward(x, moments)`` would, with nothing in between."""
        modules = self._modules
        if moments is not None or modules.get("pair") is None or self.has_few_pixels(x) or is_transformed():
            return False
        reasoning = modules["reasoning"]
        if type(self) is not SqueezeReasoning or type(reasoning) is not GraphReasoning:
            return False
        return not any(getattr(reasoning, hooks) for hooks in _HOOKS)

    def has_few_pixels(self, x: torch.Tensor) -> bool:
        """Whether the reduced maps of ``x`` ``(N, C, H, W)`` are cheaper than the ``C x C`` matrices."""
        if torch.compiler.is_exporting():  # a condition on the size would be one on the exported program's inputs
            return False
        return x.shape[2] * x.shape[3] < _FEW * self.channels

    def _reason_few(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``T`` ``(N, R, H, W)`` of ``x`` and the reasoned vector ``z`` ``(N, R)``, from the reduced maps.

        The maps have the dtype of ``x``; the squeeze is computed in float32.
        """
        w_t = parameter_of(self.transform)
        wide = torch.promote_types(torch.promote_types(x.dtype, w_t.dtype), torch.float32)
        t = F.conv2d(x, w_t.to(x.dtype))
        product = t.to(wide)
        if self.pair is not None:
            product = product * F.conv2d(x, parameter_of(self.pair).to(x.dtype)).to(wide)
        g = product.mean((2, 3))
        is_checked = not (torch.compiler.is_compiling() or is_transformed())
        if is_checked and g.device.type == "cpu" and not g.isfinite().all():
            check_finite(x=x, g=g)
        z = self.reasoned(g)
        if is_checked:
            check_finite(z=z)
        return t, z

    def forward_direct(self, x: torch.Tensor) -> torch.Tensor:
        """The paper's equations step by step, at full resolution. Tests, benchmarks and Table 3 compare with it."""
        t = self.transform(x)
        g = (t if self.pair is None else t * self.pair(x)).mean((2, 3))
        z = self.reasoning(g)
        return x + self.project(t * z[:, :, None, None])
