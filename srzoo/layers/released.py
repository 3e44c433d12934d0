"""The block as the authors released it, which differs from the paper in every step but the first idea."""

import torch
from torch import nn

from srzoo_kernels import channel_affine, gram
from srzoo_kernels.autocast import no_autocast
from srzoo_kernels.checks import check_feature_map

from .checks import check_whole
from .conv import LenientBatchNorm1d
from .moments import MomentBlock, Moments


class ReleasedSqueezeReasoning(MomentBlock):
    """Squeeze Reasoning as in the authors' code: ``Y = X + GroupNorm(W_z * (z * T))``.

    Against the paper (`SqueezeReasoning`): three reductions ``T, B, G`` of ``R = C / 2`` channels; the squeeze is
    the *sum* of ``B * G``; its vector is read as ``d x k`` and written back as ``k x d``; the reasoning adds its
    input after the adjacency, ``h = relu(BN(A g)) + g``, ``z = relu(BN(W h))``; the projection is a grouped 1x1
    convolution (each of ``R`` channels gives two), followed by a GroupNorm with one group for each of those pairs.

    The GroupNorm's mean and variance over the full resolution follow from the mean and variance of ``T``, so this
    too is one matrix and one bias per image (``forward``); ``forward_direct`` follows the code step by step. Table 1:
    computation ``O(C HW + C)``, affinity memory ``O(K^2 + M^2)`` for ``K`` nodes of ``M`` features each.

    Args:
        channels: ``C`` of the input and the output; even.
        nodes: number of nodes ``k``, of which ``C / 2`` must be a multiple; 32 in the released models.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, H, W)``, any floating dtype. The statistics and the reasoning are computed in
        float32 under autocast too, as the sum over the pixels overflows float16.

    Raises:
        ValueError: ``channels`` is odd, or half of it not divisible by ``nodes``.
    """

    def __init__(self, channels: int, nodes: int = 32):
        super().__init__()
        check_whole(channels=channels, nodes=nodes)
        if channels % 2:
            raise ValueError(f"channels must be even and at least 2, got {channels}")
        reduced = channels // 2
        if reduced % nodes:
            raise ValueError(f"channels/2 = {reduced} is not divisible by nodes={nodes}")
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
        """Of ``x`` ``(N, C, H, W)``."""
        return Moments(*gram(x), x.shape[2] * x.shape[3])

    def squeeze_vector(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """The squeezed vector ``(N, R)``, the sum over the pixels of ``B * G``; arguments as of ``forward``."""
        moments = self._moments_for(x, moments)
        mean, covariance = moments.mean, moments.covariance
        left, right = (layer.weight.flatten(1).to(mean.dtype) for layer in (self.left, self.right))
        # Through the covariance, which `affine` needs too, so that autograd keeps one C x C matrix for both.
        g = moments.pixels * (((left @ covariance) * right).sum(2) + (mean @ left.mT) * (mean @ right.mT))
        return g.to(self.left.weight.dtype)

    def reason(self, g: torch.Tensor) -> torch.Tensor:
        """The reasoned vector ``(N, R)`` of the squeezed one."""
        nodes = g.unflatten(1, (-1, self.nodes)).mT  # (N, k, d): the channels of a node lie k apart
        mixed = torch.relu(self.adjacency_norm(self.adjacency(nodes))) + nodes
        return torch.relu(self.weight_norm(self.weight(mixed.mT))).mT.flatten(1)  # node after node

    def affine(self, z: torch.Tensor, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
        """``M`` ``(N, C, C)`` and ``b`` ``(N, C)`` with ``Y = X + M X + b``, for the reasoned vector ``z`` ``(N, R)``.

        The moments are those of the map over which the GroupNorm takes its mean and variance.
        """
        mean, covariance = moments.mean, moments.covariance
        w_t = self.transform.weight.flatten(1).to(mean.dtype)
        w_z = self.project.weight.view(-1, 2).to(mean.dtype)  # the two outputs of each reduced channel
        t_mean = mean @ w_t.mT
        t_variance = ((w_t @ covariance) * w_t).sum(2).clamp(min=0)
        # Of the pair w_z z t, whose second moment is that of w_z times that of t; written without a cancellation.
        y_mean = w_z.mean(1) * z * t_mean
        spread = w_z.var(1, correction=0)
        y_variance = z.square() * (w_z.square().mean(1) * t_variance + spread * t_mean.square())
        scale = torch.rsqrt(y_variance + self.norm.eps)[:, :, None] * self.norm.weight.view(-1, 2)  # (N, R, 2)
        bias = self.norm.bias - (scale * y_mean[:, :, None]).flatten(1)
        rows = scale * w_z * z[:, :, None]
        return (rows[..., None] * w_t[:, None]).flatten(1, 2), bias

    def forward(self, x: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """``Y`` for ``x``, with the context of the map that ``moments`` are of; of ``x`` itself without them."""
        check_feature_map(x, channels=self.channels)
        with no_autocast(x.device.type):
            moments = self._moments_for(x, moments)
            z = self.reason(self.squeeze_vector(x, moments))
            return channel_affine(x, *self.affine(z, moments))

    def forward_direct(self, x: torch.Tensor) -> torch.Tensor:
        """The same block step by step at full resolution: the form to compare with and to count."""
        t = self.transform(x)
        z = self.reason((self.left(x) * self.right(x)).sum((2, 3)))
        return x + self.norm(self.project(t * z[:, :, None, None]))
