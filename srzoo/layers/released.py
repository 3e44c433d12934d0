"""The block as in the authors' released code. It differs from the paper in every step."""

import math

import torch
from torch import fx, nn

from srzoo_kernels import channel_affine, gram
from srzoo_kernels.autocast import no_autocast
from srzoo_kernels.checks import check_feature_map

from .checks import check_whole
from .conv import LenientBatchNorm1d
from .leaf import as_leaf
from .moments import MomentBlock, Moments
from .parameters import in_dtype_of, parameter_of


class ReleasedSqueezeReasoning(MomentBlock):
    """Squeeze Reasoning as in the authors' code: ``Y = X + GroupNorm(W_z * (z * T))``.

    Differences from the paper (`SqueezeReasoning`):

    * There are three reductions ``T``, ``B`` and ``G`` to ``R = C / 2`` channels. The squeeze is the *sum* over the
      pixels of ``B * G``.
    * The squeezed vector is read as a ``d x k`` matrix and written back as ``k x d``.
    * The reasoning adds its input after the adjacency: ``h = relu(BN(A g)) + g``, ``z = relu(BN(W h))``.
    * The projection ``W_z`` is a grouped 1x1 convolution: each of the ``R`` channels gives two. A GroupNorm follows,
      with one group for each of these pairs.

    The mean and variance that the GroupNorm takes over the full resolution are functions of the mean and variance of
    ``T``. So the block is one matrix and one bias per image (``forward``). ``forward_direct`` follows the authors' code
    step by step; both give the same values. Table 1 of arXiv 2011.03308: computation ``O(C HW + C)``, affinity memory
    ``O(K^2 + M^2)`` for ``K`` nodes of ``M`` features each.

    Args:
        channels: ``C`` of the input and the output, even.
        nodes: number of nodes ``k``, a divisor of ``C / 2``; 32 in the released models.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, ``H, W >= 1``, any floating dtype. The statistics and the reasoning are
        computed in float32 under autocast too, and in a block that was converted to half precision, because the sum
        over the pixels overflows float16.

    Raises:
        ValueError: ``channels`` is odd, or ``channels / 2`` is not divisible by ``nodes``. In ``forward`` on a
            CPU: an input, squeezed vector, matrix or bias that is not finite.
    """

    def __init__(self, channels: int, nodes: int = 32):
        super().__init__()
        check_whole(channels=channels, nodes=nodes)
        if channels % 2:
            raise ValueError(f"channels must be even and at least 2, got {channels}")
        reduced = channels // 2
        if reduced % nodes:
            raise ValueError(
                f"channels/2 = {reduced} is not divisible by nodes={nodes}; pass nodes={math.gcd(reduced, nodes)}"
            )
        self.channels, self.nodes = channels, nodes
        self.transform, self.left, self.right = (nn.Conv2d(channels, reduced, 1, bias=False) for _ in range(3))
        self.adjacency = nn.Conv1d(nodes, nodes, 1, bias=False)
        self.adjacency_norm = LenientBatchNorm1d(nodes)
        self.weight = nn.Conv1d(reduced // nodes, reduced // nodes, 1, bias=False)
        self.weight_norm = LenientBatchNorm1d(reduced // nodes)
        self.project = nn.Conv2d(reduced, channels, 1, groups=reduced, bias=False)
        self.norm = nn.GroupNorm(reduced, channels)

    def extra_repr(self) -> str:
        return f"{self.channels}, nodes={self.nodes}"

    def moments(self, x: torch.Tensor) -> Moments:
        """The moments of ``x`` ``(N, C, H, W)``."""
        return Moments(*gram(x), x.shape[2] * x.shape[3])

    def squeeze_vector(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """The squeezed vector ``(N, R)``, the sum over the pixels of ``B * G``, float32 or wider.

        Arguments as in ``forward``.
        """
        moments = self._moments_for(x, moments)
        mean, covariance = moments.mean, moments.covariance
        left, right = (parameter_of(layer).flatten(1).to(mean.dtype) for layer in (self.left, self.right))
        # With rows l of `left` and r of `right`: sum_p (l x_p)(r x_p) = HW (l Cov r^T + (l m)(r m)), m the mean.
        # Written with the covariance, because `affine` needs it too and autograd then keeps one C x C matrix for both.
        g = moments.pixels * (((left @ covariance) * right).sum(2) + (mean @ left.mT) * (mean @ right.mT))
        return g.to(torch.promote_types(g.dtype, self.left.weight.dtype))

    def reason(self, g: torch.Tensor) -> torch.Tensor:
        """The reasoned vector ``(N, R)`` for the squeezed vector ``g`` ``(N, R)``, in its dtype."""
        nodes = g.unflatten(1, (-1, self.nodes)).mT  # (N, k, d): the channels of one node are k apart in g
        mixed = torch.relu(in_dtype_of(in_dtype_of(nodes, self.adjacency), self.adjacency_norm)) + nodes
        out = torch.relu(in_dtype_of(in_dtype_of(mixed.mT, self.weight), self.weight_norm))
        return out.mT.flatten(1)  # the channels of a node side by side

    def affine(self, z: torch.Tensor, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
        """``M`` ``(N, C, C)`` and ``b`` ``(N, C)`` so that ``Y = X + M X + b``.

        Args:
            z: the reasoned vector ``(N, R)``.
            moments: of the map over which the GroupNorm takes its mean and variance.
        """
        mean, covariance = moments.mean, moments.covariance
        w_t = parameter_of(self.transform).flatten(1).to(mean.dtype)
        w_z = parameter_of(self.project).view(-1, 2).to(mean.dtype)  # (R, 2): the two outputs of each reduced channel
        t_mean = mean @ w_t.mT
        t_variance = ((w_t @ covariance) * w_t).sum(2).clamp(min=0)
        # A group of the GroupNorm is the pair y = w z t of one reduced channel: w the two weights, t the pixels. Then
        # mean(y) = mean(w) z mean(t), and E[y^2] - mean(y)^2 = z^2 (E[w^2] E[t^2] - mean(w)^2 mean(t)^2), which is
        # z^2 (E[w^2] var(t) + var(w) mean(t)^2): a sum of positive terms, without a cancellation.
        y_mean = w_z.mean(1) * z * t_mean
        spread = w_z.var(1, correction=0)
        y_variance = z.square() * (w_z.square().mean(1) * t_variance + spread * t_mean.square())
        scale = torch.rsqrt(y_variance + self.norm.eps)[:, :, None] * self.norm.weight.view(-1, 2)  # (N, R, 2)
        bias = self.norm.bias - (scale * y_mean[:, :, None]).flatten(1)
        rows = scale * w_z * z[:, :, None]  # (N, R, 2): the factor of W_t's row r in the rows 2r and 2r + 1 of M
        return (rows[..., None] * w_t[:, None]).flatten(1, 2), bias

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
        with no_autocast(x.device.type):
            moments = self._moments_for(x, moments)
            z = self.reason(self.squeeze_vector(x, moments))
            return channel_affine(x, *self.affine(z, moments))

    def forward_direct(self, x: torch.Tensor) -> torch.Tensor:
        """The authors' code step by step, at full resolution. Tests, benchmarks and Table 3 compare with it."""
        t = self.transform(x)
        z = self.reason((self.left(x) * self.right(x)).sum((2, 3)))
        return x + self.norm(self.project(t * z[:, :, None, None]))
