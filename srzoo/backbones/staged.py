"""Base of the convolutional networks that srzoo adds to timm, with the interface that timm expects."""

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ClassifierHead
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import nn


class Stage(nn.Sequential):
    """Blocks in sequence. With ``grad_checkpointing`` the backward pass computes their activations again."""

    def __init__(self, *blocks: nn.Module):
        super().__init__(*blocks)
        self.grad_checkpointing = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.grad_checkpointing and not torch.jit.is_scripting():
            return checkpoint_seq(self, x)
        for block in self:
            x = block(x)
        return x


class StagedNet(nn.Module):
    """A network of a stem, stages, a norm and a classifier, with timm's interface.

    The features are the outputs of every child of ``stem`` and then of ``stages``.

    Args:
        stem: the layers before the stages.
        stages: the stages, each a `Stage`.
        widths: channels of each feature.
        strides: of each feature against the image.
        norm: applied to the last feature, before the classifier.
        num_classes: outputs of the classifier; 0 for no classifier.
        in_chans: channels of the image, the same as those of ``stem``.
        global_pool: as in `timm.layers.ClassifierHead`; "" for none.
        drop_rate: probability of dropout before the classifier.
        device, dtype: of the classifier.

    Shape:
        ``(N, in_chans, H, W)`` to ``(N, num_classes)``.
    """

    def __init__(
        self,
        stem: nn.Sequential,
        stages: nn.Sequential,
        widths: list[int],
        strides: list[int],
        norm: nn.Module,
        num_classes: int,
        in_chans: int,
        global_pool: str,
        drop_rate: float,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.stem, self.stages, self.norm = stem, stages, norm
        names = [f"{part}.{i}" for part, layers in (("stem", stem), ("stages", stages)) for i in range(len(layers))]
        self.feature_info = [
            {"num_chs": width, "reduction": stride, "module": name}
            for width, stride, name in zip(widths, strides, names, strict=True)
        ]
        self.in_chans, self.num_classes, self.num_features = in_chans, num_classes, widths[-1]
        self.head = ClassifierHead(widths[-1], num_classes, global_pool, drop_rate, device=device, dtype=dtype)
        self.head_hidden_size = widths[-1] * self.head.global_pool.feat_mult()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict:
        blocks = r"^stages\.(\d+)" if coarse else [(r"^stages\.(\d+)\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^stem", "blocks": blocks}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        for stage in self.stages:
            stage.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier. ``global_pool`` is kept unless given."""
        like = next(self.parameters())
        self.num_classes = num_classes
        self.head.reset(num_classes, global_pool)
        self.head.to(like.device, like.dtype).train(self.training)
        self.head_hidden_size = self.num_features * self.head.global_pool.feat_mult()

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """The features, as in timm's models.

        Args:
            x: ``(N, in_chans, H, W)``.
            indices: of the features; an int ``n`` means the last ``n``, None means all.
            norm: apply the final norm to the last feature.
            stop_early: skip the stages after the last index.
            output_fmt: only "NCHW".
            intermediates_only: return only the features.

        Returns:
            The output of `forward_features` and the features ``(N, C_i, h_i, w_i)``, or only the features.
        """
        assert output_fmt == "NCHW", "output_fmt must be NCHW"
        total = len(self.stem) + len(self.stages)
        take, last = feature_take_indices(total, indices)
        intermediates = []
        index = 0
        for layer in self.stem:
            x = layer(x)
            if index in take:
                intermediates.append(x)
            index += 1
        for stage in self.stages:
            if not stop_early or index <= last:
                x = stage(x)
            if index in take:
                intermediates.append(self.norm(x) if norm and index == total - 1 else x)
            index += 1
        if intermediates_only:
            return intermediates
        return (x if stop_early and last < total - 1 else self.norm(x)), intermediates

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the layers that `forward_intermediates` does not need for these indices.

        Args:
            indices: as in `forward_intermediates`.
            prune_norm: also remove the norm if the last feature is kept.
            prune_head: also remove the classifier if the last feature is kept.

        Returns:
            The indices of the features, counted from 0.
        """
        take, last = feature_take_indices(len(self.feature_info), indices)
        cut = last < len(self.feature_info) - 1
        self.stages = self.stages[: max(0, last + 1 - len(self.stem))]
        self.stem = self.stem[: last + 1]
        if cut or prune_norm:
            self.norm = nn.Identity()
        if cut:
            self.num_features = self.head.in_features = self.feature_info[last]["num_chs"]
        if cut or prune_head:
            self.reset_classifier(0, "")
        return take

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature, normalized: ``(N, num_features, H / 32, W / 32)`` unless dilated."""
        return self.norm(self.stages(self.stem(x)))

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits ``(N, num_classes)`` of the last feature, or its pooled form with ``pre_logits``."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def untrained_cfg(first_conv: str, **values) -> dict:
    """timm's pretrained configuration of a network without published weights."""
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": first_conv,
        "classifier": "head.fc",
        **values,
    }


def dilated(stride: int, current: int, dilation: int, output_stride: int) -> tuple[int, int]:
    """Stride and dilation of a stage that would have ``stride`` in the undilated network.

    Args:
        stride: of the stage.
        current: stride of its input against the image.
        dilation: of the stage before.
        output_stride: that must not be exceeded.

    Returns:
        ``(stride, dilation)``: the stride 1 and a larger dilation if the stage would exceed ``output_stride``.
    """
    return (1, dilation * stride) if current * stride > output_stride else (stride, dilation)
