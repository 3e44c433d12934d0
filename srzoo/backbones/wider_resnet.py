"""Wider-ResNet-38 (Wu et al., 2016, arXiv 1611.10080), registered in timm."""

from collections import OrderedDict

import torch
from timm.layers import BatchNormAct2d
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from .staged import Stage, StagedNet, dilated, untrained_cfg

__all__ = ["WiderResNet"]


class IdentityBlock(nn.Module):
    """Pre-activation residual block ``conv(relu(bn(.)))``: two 3x3 convolutions, or 1x1, 3x3, 1x1.

    Args:
        width: channels of the input.
        widths: output channels of each convolution: two for a basic block, three for a bottleneck.
        stride: of the first convolution.
        dilation: of the 3x3 convolutions.
        dropout: probability that a channel is dropped before the last convolution.
        dd: device and dtype.

    Shape:
        ``(N, width, H, W)`` to ``(N, widths[-1], H / stride, W / stride)``.
    """

    def __init__(self, width: int, widths: tuple[int, ...], stride: int, dilation: int, dropout: float, dd: dict):
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        self.bn1 = BatchNormAct2d(width, **dd)
        self.proj_conv = None
        if stride != 1 or width != widths[-1]:
            self.proj_conv = nn.Conv2d(width, widths[-1], 1, stride=stride, bias=False, **dd)
        layers = OrderedDict()
        for i, (out, kernel) in enumerate(zip(widths, kernels, strict=True), start=1):
            if i > 1:
                layers[f"bn{i}"] = BatchNormAct2d(width, **dd)
            if i == len(widths) and dropout:
                layers["dropout"] = nn.Dropout2d(dropout)
            spread = dilation if kernel == 3 else 1
            layers[f"conv{i}"] = nn.Conv2d(
                width,
                out,
                kernel,
                stride=stride if i == 1 else 1,
                padding=spread * (kernel // 2),
                dilation=spread,
                bias=False,
                **dd,
            )
            width = out
        self.convs = nn.Sequential(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn1(x)
        shortcut = x if self.proj_conv is None else self.proj_conv(y)
        return self.convs(y) + shortcut


class WiderResNet(StagedNet):
    """Wider-ResNet in its A2 form, as in the Cityscapes models: max pooling before the first two stages, then strides.

    The features are the output of the stem (stride 1) and of every stage, before the final activation.

    Args:
        depths: number of blocks of each of the six stages.
        widths: output channels of each convolution of a block, by stage.
        output_stride: 8, 16 or 32; strides beyond it are replaced by dilation.
        stage_dropout: probability that a channel is dropped in the blocks of each stage.
        in_chans, num_classes, global_pool, drop_rate, device, dtype: as in timm.

    Shape:
        ``(N, in_chans, H, W)`` to ``(N, num_classes)``.

    Raises:
        AssertionError: another ``output_stride``, as timm's networks raise it.
    """

    WIDTHS = ((128, 128), (256, 256), (512, 512), (512, 1024), (512, 1024, 2048), (1024, 2048, 4096))
    STRIDES = (2, 2, 2, 2, 2, 1)

    def __init__(
        self,
        depths: tuple[int, ...],
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        output_stride: int = 32,
        drop_rate: float = 0.0,
        stage_dropout: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.3, 0.5),
        widths: tuple[tuple[int, ...], ...] = WIDTHS,
        device=None,
        dtype=None,
    ):
        assert output_stride in (8, 16, 32), f"output_stride must be 8, 16 or 32, got {output_stride}"
        dd = {"device": device, "dtype": dtype}
        stem = nn.Sequential(nn.Conv2d(in_chans, 64, 3, padding=1, bias=False, **dd))
        stages, reductions, width, dilation = nn.Sequential(), [1], 64, 1
        for i, (own_widths, depth, wanted) in enumerate(zip(widths, depths, self.STRIDES, strict=True)):
            stride, dilation = dilated(wanted, reductions[-1], dilation, output_stride)
            blocks, pooled = OrderedDict(), i < 2 and stride == 2
            if pooled:
                blocks["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
            for block in range(depth):
                own = stride if block == 0 and not pooled else 1
                blocks[str(block)] = IdentityBlock(width, own_widths, own, dilation, stage_dropout[i], dd)
                width = own_widths[-1]
            stages.add_module(str(i), Stage(blocks))
            reductions.append(reductions[-1] * stride)
        super().__init__(
            stem,
            stages,
            [64, *(own_widths[-1] for own_widths in widths)],
            reductions,
            BatchNormAct2d(width, **dd),
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
            **dd,
        )


default_cfgs = generate_default_cfgs({"wider_resnet38_a2": untrained_cfg("stem.0", paper_ids="arXiv:1611.10080")})


@register_model
def wider_resnet38_a2(pretrained: bool = False, **kwargs) -> torch.nn.Module:
    """Wider-ResNet-38, A2 form; features 0 to 6 at strides 1, 2, 4, 8, 16, 32, 32."""
    # Two stages have stride 32; the default feature is the deeper one.
    return build_model_with_cfg(
        WiderResNet,
        "wider_resnet38_a2",
        pretrained,
        feature_cfg={"out_indices": (1, 2, 3, 4, 6), "flatten_sequential": True},
        **{"depths": (3, 3, 6, 3, 1, 1), **kwargs},
    )
