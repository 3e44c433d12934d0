"""Any timm backbone as a list of NCHW feature maps, at a chosen output stride."""

from __future__ import annotations

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import Format
from timm.models.mvitv2 import MultiScaleVit
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from ..layers.checks import check_whole, check_wholes
from ..layers.insertion import insert
from ..layers.leaf import refuse_tracing
from ..messages import nearest, one_line, shortened, visible
from .same_padding import replace_same_padding

# How timm's backbones are told that the input size varies: not at all, or by one of these options.
_SIZE_OPTIONS = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
_DIVISOR = 32


class FeatureBackbone(nn.Module):
    """timm's ``features_only`` model, with NCHW features and with channels and strides as attributes.

    Args:
        name: any name that ``timm.create_model`` takes.
        options: for ``timm.create_model``, e.g. ``{"output_stride": 8}``, or those that `probe` returns.
        multi_grid: dilation multipliers for the blocks of a ResNet's last stage (arXiv 2011.03308, "Network
            architecture"). With it, all blocks of a dilated stage have the same dilation; timm halves that of the
            first.
        blocks: context modules to insert after modules of timm's model, by name, as `srzoo.insert` does: for example
            ``{"layer4": "sr"}``, or ``{"layer4": ("sr", {"nodes": 32})}`` with options of the context module.

    Attributes:
        body: timm's model.
        channels: of each feature, shallow to deep.
        strides: of each feature against the image, shallow to deep.
        in_channels: of the image.
        is_nhwc: whether the features of ``body`` have the channels last.

    Shape:
        ``(N, in_channels, H, W)`` normalized floats to a list of ``(N, channels[i], H / strides[i], W / strides[i])``.
        Most backbones round the sides up.

    Raises:
        ValueError: timm has no such backbone or cannot build it with these options; an invalid ``multi_grid``; or a
            block that does not fit.
    """

    def __init__(
        self,
        name: str,
        options: dict,
        multi_grid: tuple[int, ...] | None = None,
        blocks: dict[str, str | tuple[str, dict]] | None = None,
    ):
        super().__init__()
        if multi_grid is not None:
            check_wholes(multi_grid=multi_grid)
        self.body = _create(name, options)
        replace_same_padding(self.body)
        self.in_channels: int = options.get("in_chans", 3)
        self.channels: list[int] = self.body.feature_info.channels()
        self.strides: list[int] = self.body.feature_info.reduction()
        # As of Swin. Asked of timm: a shape does not tell, where a side of the map is as long as there are channels.
        self.is_nhwc = Format(getattr(self.body, "output_fmt", Format.NCHW)) is Format.NHWC
        if multi_grid is not None:
            _apply_multi_grid(self.body, name, multi_grid)
        for place, (context, context_options) in _checked_blocks(blocks or {}).items():
            insert(self.body, place, context, self.example, **context_options)

    @property
    def example(self) -> torch.Tensor:
        """An image to try the network on, as `srzoo.insert` does on the meta device."""
        return torch.empty(1, self.in_channels, 224, 224, dtype=next(self.parameters()).dtype)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The features of ``x`` ``(N, in_channels, H, W)``, shallow to deep: ``(N, channels[i], h_i, w_i)`` each."""
        refuse_tracing(x)
        features = self.body(x)
        return [feature.permute(0, 3, 1, 2) for feature in features] if self.is_nhwc else list(features)


def numbered_strides(name: str, options: dict) -> list[tuple[int, int]]:
    """timm's number and the stride of each feature of a backbone, shallow to deep, in little time and no memory.

    timm keeps each feature that it is asked for until the last is computed, and a ResNet's stem is as large as its
    first stage: a network whose ``out_indices`` are the numbers of those that it reads takes up to a third less.

    Raises:
        ValueError: as for `FeatureBackbone`.
    """
    with unset_fake_temporarily(), torch.device("meta"):  # a fake mode takes no tensors on the meta device
        backbone = FeatureBackbone(name, options)
    return list(zip(backbone.body.feature_info.out_indices, backbone.strides, strict=True))


def probe(name: str, output_stride: int | None, channels: int = 3) -> tuple[dict, int]:
    """Find the options that build a backbone, by trying them on the meta device in little time and no memory.

    Args:
        name: any name that ``timm.create_model`` takes.
        output_stride: of the last feature. None means 8, or the backbone's own stride if timm cannot dilate it.
        channels: of the image.

    Returns:
        The options for `FeatureBackbone`, and the number that height and width must be divisible by: 1, or 32 for a
        backbone that fails at other sizes.

    Raises:
        ValueError: timm has no such backbone, or it has no features, or none at this stride; or it takes images of one
            size, of large ones alone, or of other channels.
    """
    if output_stride is not None:
        check_whole(output_stride=output_stride)
    wanted = 8 if output_stride is None else output_stride
    own, reason = None, f"timm's {name!r} has no features; choose another backbone"
    for size_options in _SIZE_OPTIONS:
        for options in ({"output_stride": wanted, **size_options}, size_options):
            try:
                backbone = _tried(name, options)
            except _BUILD_ERRORS as error:
                if not isinstance(error.__cause__, TypeError):  # a TypeError is an option that this backbone lacks
                    reason = one_line(error)
                continue
            own = backbone.strides[-1]
            if own == wanted or output_stride is None:
                _check_channels(name, options, channels)
                return options, _divisor(backbone)
    if own is not None:
        raise ValueError(
            f"{name!r} has output stride {own}, which timm cannot change to {output_stride}; pass output_stride={own}"
        )
    raise ValueError(reason)


def _tried(name: str, options: dict) -> FeatureBackbone:
    """A backbone on the meta device, in evaluation mode, that has run on an image of an uncommon size.

    Raises:
        ValueError: as `FeatureBackbone`; or it does not run, or gives a map that does not depend on the image's size.
    """
    size = (2 * _DIVISOR, 3 * _DIVISOR)
    with torch.device("meta"):
        backbone = FeatureBackbone(name, options).eval()
        try:
            map_size = tuple(backbone(torch.empty(1, 3, *size))[-1].shape[-2:])
            larger = any(got > side // backbone.strides[-1] + 1 for got, side in zip(map_size, size))
            problem = f"its last feature is {map_size[0]}x{map_size[1]}" if larger else ""
        except _BUILD_ERRORS as error:
            problem = visible(one_line(error), 100)
    if problem:
        raise ValueError(
            f"timm's {name!r} does not take an image of {size[0]}x{size[1]} ({problem}); models need a backbone for "
            "images of any size, choose another"
        )
    if any(isinstance(part, MultiScaleVit) for part in backbone.modules()):
        # A larger image exceeds the tables of positions that it indexes; on the meta device nothing is indexed.
        raise ValueError(
            f"timm's {name!r} takes no images larger than its own; models need a backbone for images of any size, "
            "choose another"
        )
    return backbone


def _check_channels(name: str, options: dict, channels: int) -> None:
    """Check that a backbone that takes RGB takes images of other channels: a user's own may ignore ``in_chans``.

    Raises:
        ValueError: it does not.
    """
    if channels == 3:
        return
    with torch.device("meta"):
        try:
            backbone = FeatureBackbone(name, {**options, "in_chans": channels}).eval()
            backbone(torch.empty(1, channels, 2 * _DIVISOR, 3 * _DIVISOR))
        except _BUILD_ERRORS as error:
            raise ValueError(
                f"timm's {name!r} takes no images of {channels} channels ({visible(one_line(error), 100)}); leave "
                "in_channels out, or choose another backbone"
            ) from error


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (of RGB in 0..1) that timm's weights of a backbone expect; default ImageNet's."""
    config = timm.get_pretrained_cfg(name)
    return (tuple(config.mean), tuple(config.std)) if config else (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


_BUILD_ERRORS = (
    *(AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError),
    *(ArithmeticError, RecursionError),
)
# Options of timm's architectures, the only ones that are passed on: `timm.create_model` also takes paths and addresses
# of weights, which a model's file could name, and ``device``, which would allocate before shapes are compared.
_OPTIONS = frozenset(
    (
        *(
            "in_chans",
            "out_indices",
            "output_stride",
            "img_size",
            "dynamic_img_size",
            "dynamic_img_pad",
            "strict_img_size",
        ),
        *("patch_size", "window_size", "always_partition", "embed_dim", "depth", "depths", "dims", "widths", "layers"),
        *("num_heads", "head_dim", "mlp_ratio", "qkv_bias", "qk_norm", "init_values", "class_token", "reg_tokens"),
        *(
            "channels",
            "cardinality",
            "base_width",
            "avg_down",
            "down_kernel_size",
            "block_reduce_first",
            "kernel_sizes",
        ),
        *("stem_type", "stem_width", "stem_size", "stem_kernel_size", "fix_stem", "replace_stem_pool", "patch_norm"),
        *("act_layer", "norm_layer", "norm_eps", "aa_layer", "pad_type", "bn_eps", "bn_momentum", "bn_tf"),
        *("conv_mlp", "conv_bias", "use_grn", "ls_init_value", "zero_init_last", "stage_dropout"),
        *("drop_rate", "drop_path_rate", "drop_block_rate", "proj_drop_rate", "attn_drop_rate", "pos_drop_rate"),
    )
)
_MOST_LAYERS = 1024  # of a stage, a number that no tensor of a file bounds before all of them are built


def _create(name: str, options: dict) -> nn.Module:
    if not isinstance(name, str) or not timm.is_model(name):
        architecture = str(name).rpartition("/")[2].partition(".")[0]  # of "timm/resnet18.a1_in1k", as a hub has it
        raise ValueError(f"timm has no backbone {shortened(name)}{nearest(architecture, timm.list_models())}")
    _check_options(options)
    try:
        return timm.create_model(name, pretrained=False, features_only=True, **options)
    except _BUILD_ERRORS as error:
        raise ValueError(
            f"timm's {name!r} has no features with {shortened(options, 200)} ({one_line(error)})"
        ) from error


def _check_options(options: dict) -> None:
    """Check the names of options for timm, and their numbers of layers.

    Raises:
        ValueError: an option is not one of an architecture, or a number of layers is too large.
    """
    for name, value in options.items():
        if name not in _OPTIONS:
            raise ValueError(
                f"{shortened(name)} is no option of a backbone's architecture; those are {', '.join(sorted(_OPTIONS))}"
            )
        if name in ("depth", "depths", "layers", "reg_tokens"):
            numbers = value if isinstance(value, (tuple, list)) else (value,)
            if any(isinstance(number, (int, float)) and not number <= _MOST_LAYERS for number in numbers):
                raise ValueError(f"{name} must be at most {_MOST_LAYERS}, got {shortened(value)}")


def _checked_blocks(blocks: dict[str, str | tuple[str, dict]]) -> dict[str, tuple[str, dict]]:
    """The blocks as ``(name, options)``, by the module that they follow.

    Raises:
        ValueError: another type than a dict of names or of ``(name, options)``.
    """
    if not isinstance(blocks, dict):
        raise ValueError(f"blocks must be a dict such as {{'layer4': 'sr'}}, got {blocks!r}")
    checked = {place: (block, {}) if isinstance(block, str) else block for place, block in blocks.items()}
    for place, block in checked.items():
        if not (isinstance(block, (tuple, list)) and [type(part) for part in block] == [str, dict]):
            raise ValueError(f"blocks[{place!r}] must be a context module's name, or (name, options), got {block!r}")
    return checked


def _divisor(backbone: FeatureBackbone) -> int:
    """32 if the backbone fails at an odd size, else 1."""
    try:
        with torch.device("meta"):
            backbone(torch.empty(1, 3, _DIVISOR + 1, _DIVISOR + 15))
    except _BUILD_ERRORS:
        return _DIVISOR
    return 1


def _apply_multi_grid(body: nn.Module, name: str, multi_grid: tuple[int, ...]) -> None:
    """Give all blocks of ``layer3`` one dilation, and those of ``layer4`` multiples of theirs by ``multi_grid``.

    Raises:
        ValueError: no ``layer4`` of as many blocks, or no convolution ``conv2`` in a block.
    """
    blocks = getattr(body, "layer4", None)
    if blocks is None or len(blocks) != len(multi_grid):
        found = "none" if blocks is None else len(blocks)
        raise ValueError(
            f"multi_grid={multi_grid} needs {len(multi_grid)} blocks in a ResNet's layer4; {name!r} has {found}"
        )
    if not all(isinstance(getattr(block, "conv2", None), nn.Conv2d) for block in (*body.layer3, *blocks)):
        raise ValueError(f"multi_grid needs blocks with a 3x3 convolution conv2; those of {name!r} have none")
    # timm gives the first block of a dilated stage half the dilation; the paper and its predecessors do not.
    for stage, factors in ((body.layer3, (1,) * len(body.layer3)), (blocks, multi_grid)):
        base = stage[-1].conv2.dilation[0]
        for block, factor in zip(stage, factors, strict=True):
            block.conv2.dilation = block.conv2.padding = (base * factor,) * 2
