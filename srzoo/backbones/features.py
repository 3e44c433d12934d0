"""Any timm backbone as a list of NCHW feature maps, at a chosen output stride."""

import torch
from torch import nn

MULTI_GRID = (1, 2, 4)


class FeatureBackbone(nn.Module):
    """timm's ``features_only`` model with its channels and strides as plain attributes.

    Args:
        name: any name that ``timm.create_model`` takes.
        output_stride: stride of the last feature map; timm replaces the strides beyond it by dilation.
        multi_grid: dilation multipliers of the last stage's blocks, for ResNets ("Network architecture").

    Attributes:
        channels, strides: one number per feature map, shallow to deep.

    Raises:
        ValueError: timm has no such backbone, it offers no features, or not at this stride.
    """

    def __init__(self, name: str, output_stride: int, multi_grid: tuple[int, ...] | None = None):
        super().__init__()
        import timm  # takes a second, and `srzoo list` does without

        if not timm.is_model(name):
            from ..registry import nearest

            raise ValueError(f"timm has no backbone {name!r}{nearest(name, timm.list_models())}")
        try:
            self.body = timm.create_model(name, pretrained=False, features_only=True, output_stride=output_stride)
        except (AttributeError, AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"timm's {name!r} gives no features at output_stride={output_stride} ({str(error) or type(error).__name__}); "
                "try output_stride=32, 16 or 8, or another backbone"
            ) from error
        self.channels: list[int] = self.body.feature_info.channels()
        self.strides: list[int] = self.body.feature_info.reduction()
        if multi_grid is not None:
            _apply_multi_grid(self.body, name, multi_grid)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = self.body(x)
        # Swin and its kin return NHWC.
        return [f if f.shape[1] == c else f.permute(0, 3, 1, 2) for f, c in zip(features, self.channels, strict=True)]


def _apply_multi_grid(body: nn.Module, name: str, multi_grid: tuple[int, ...]) -> None:
    """Multiply the dilation of the last stage's 3x3 convolutions by ``multi_grid``, block by block."""
    blocks = getattr(body, "layer4", None)
    if blocks is None or len(blocks) != len(multi_grid):
        raise ValueError(f"multi_grid={multi_grid} needs a ResNet with {len(multi_grid)} blocks in layer4, not {name!r}")
    # timm gives the first block of a dilated stage half the dilation; the paper's line of work does not.
    base = blocks[-1].conv2.dilation[0]
    for block, factor in zip(blocks, multi_grid, strict=True):
        block.conv2.dilation = block.conv2.padding = (base * factor,) * 2
