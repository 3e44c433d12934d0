"""DFNet v1 and v2 (Li et al., "Partial Order Pruning", CVPR 2019), registered in timm."""

import torch
from timm.layers import ConvNormAct
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, downsample_conv
from torch import nn

from .staged import Stage, StagedNet, dilated, untrained_cfg

__all__ = ["DFNet"]


class DFNet(StagedNet):
    """A stem of two convolutions of stride 2, then stages of basic residual blocks.

    The features are the outputs of the two convolutions (strides 2 and 4) and of every stage.

    Args:
        widths: channels of each stage.
        depths: number of blocks of each stage.
        strides: stride of the first block of each stage.
        output_stride: 8, 16 or 32; strides beyond it are replaced by dilation.
        in_chans, num_classes, global_pool, drop_rate, device, dtype: as in timm.

    Shape:
        ``(N, in_chans, H, W)`` to ``(N, num_classes)``.

    Raises:
        AssertionError: another ``output_stride``, as timm's networks raise it.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        strides: tuple[int, ...],
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        output_stride: int = 32,
        drop_rate: float = 0.0,
        device=None,
        dtype=None,
    ):
        assert output_stride in (8, 16, 32), f"output_stride must be 8, 16 or 32, got {output_stride}"
        dd = {"device": device, "dtype": dtype}
        stem = nn.Sequential(
            ConvNormAct(in_chans, 32, 3, stride=2, act_kwargs={"inplace": True}, **dd),
            ConvNormAct(32, 64, 3, stride=2, act_kwargs={"inplace": True}, **dd),
        )
        stages, reductions, width, dilation = nn.Sequential(), [2, 4], 64, 1
        for i, (out, depth, wanted) in enumerate(zip(widths, depths, strides, strict=True)):
            first_dilation = dilation
            stride, dilation = dilated(wanted, reductions[-1], dilation, output_stride)
            stages.add_module(str(i), _stage(width, out, depth, stride, first_dilation, dilation, dd))
            reductions.append(reductions[-1] * stride)
            width = out
        super().__init__(
            stem,
            stages,
            [32, 64, *widths],
            reductions,
            nn.Identity(),
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
            **dd,
        )


def _stage(width: int, out: int, depth: int, stride: int, first_dilation: int, dilation: int, dd: dict) -> Stage:
    shortcut = downsample_conv(width, out, 1, stride=stride, **dd) if stride != 1 or width != out else None
    first = BasicBlock(width, out, stride, shortcut, first_dilation=first_dilation, dilation=dilation, **dd)
    return Stage(first, *(BasicBlock(out, out, dilation=dilation, **dd) for _ in range(depth - 1)))


default_cfgs = generate_default_cfgs(
    {name: untrained_cfg("stem.0.conv", paper_ids="arXiv:1903.03777") for name in ("dfnet_v1", "dfnet_v2")}
)


def _create(name: str, out_indices: tuple[int, ...], pretrained: bool, options: dict) -> nn.Module:
    # If several stages have the same stride, the default feature is the deepest one.
    return build_model_with_cfg(
        DFNet, name, pretrained, feature_cfg={"out_indices": out_indices, "flatten_sequential": True}, **options
    )


@register_model
def dfnet_v1(pretrained: bool = False, **kwargs) -> torch.nn.Module:
    """DFNet v1: 8.02 M parameters without the classifier; features 0 to 5 at strides 2, 4, 8, 16, 32, 32."""
    options = {"widths": (64, 128, 256, 512), "depths": (3, 3, 3, 1), "strides": (2, 2, 2, 1), **kwargs}
    return _create("dfnet_v1", (0, 1, 2, 3, 5), pretrained, options)


@register_model
def dfnet_v2(pretrained: bool = False, **kwargs) -> torch.nn.Module:
    """DFNet v2: 17.47 M parameters without the classifier; features 0 to 7 at strides 2, 4, 8, 8, 16, 16, 32, 32."""
    options = {
        "widths": (64, 128, 128, 256, 256, 512),
        "depths": (2, 1, 10, 1, 4, 2),
        "strides": (2, 1, 2, 1, 2, 1),
        **kwargs,
    }
    return _create("dfnet_v2", (0, 1, 3, 5, 7), pretrained, options)
