"""A backbone with a feature pyramid, for detectors."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ..layers.checks import check_whole
from ..layers.insertion import insert
from .features import FeatureBackbone, numbered_strides

_FINEST = 4  # stride of the finest level
_REDUCED = 128  # channels of the block in a bottleneck


class PyramidBackbone(FeatureBackbone):
    """A backbone with a feature pyramid (Lin et al., 2017): 1x1 laterals, nearest upsampling, 3x3 outputs.

    The tensors have torchvision's names: ``body.*``, ``fpn.inner_blocks.*`` and ``fpn.layer_blocks.*``.

    Args:
        name, options: of timm's backbone, as for `FeatureBackbone`. It must not be dilated.
        channels: of every level.
        context: a context module to insert into the backbone, a key of `srzoo.layers.CONTEXT_MODULES`; "none" for none.
        places: names of the modules of timm's backbone that it is inserted after; default `default_places`.
        context_options: of the context module.
        norm: a BatchNorm behind each convolution of the pyramid, instead of a bias.

    Attributes:
        level_strides: of the levels, fine to coarse, with that of the extra level "pool", a subsampling of the last.

    Shape:
        ``(N, in_channels, H, W)`` normalized floats to ``{"0": (N, channels, H/4, W/4), "1": ..., "pool": ...}``.

    Raises:
        ValueError: as for `FeatureBackbone`; or the backbone has no feature of stride 4 or more; or the context module
            does not fit.
    """

    def __init__(
        self,
        name: str,
        options: dict,
        channels: int = 256,
        context: str = "none",
        places: tuple[str, ...] | None = None,
        context_options: dict | None = None,
        norm: bool = False,
    ):
        check_whole(channels=channels)
        super().__init__(name, {**options, "out_indices": _level_indices(name, options)})
        self.level_strides = [*self.strides, 2 * self.strides[-1]]
        if context == "none" and context_options:
            raise ValueError(f"context='none' takes no options, got {', '.join(context_options)}")
        if context != "none":
            chosen, own = default_places(self, context) if places is None else (places, {})
            for place in chosen:
                insert(self.body, place, context, self.example, **{**own, **(context_options or {})})
        self.fpn = FeaturePyramidNetwork(self.channels, channels, LastLevelMaxPool(), nn.BatchNorm2d if norm else None)

    @property
    def level_names(self) -> list[str]:
        """The keys of the levels, fine to coarse, without "pool", which regions are not read from."""
        return [str(i) for i in range(len(self.strides))]

    @property
    def last_module(self) -> str | None:
        """Name of the module in ``body`` whose output only the last lateral of the pyramid reads, if timm says it."""
        return _last_module(self.body)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The levels of the pyramid of ``x`` ``(N, in_channels, H, W)``, fine to coarse, with "pool" as the last."""
        return self._top_down(super().forward(x))

    def _top_down(self, inputs: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """What torchvision's `FeaturePyramidNetwork.forward` computes, at half its memory.

        Each of the ``inputs`` is taken from the list and released where it has been read, and the upsampled level is
        added in place.
        """
        inner, levels = None, []
        while inputs:
            i = len(inputs) - 1
            lateral = self.fpn.inner_blocks[i](inputs.pop())
            if inner is not None:
                lateral.add_(F.interpolate(inner, lateral.shape[-2:], mode="nearest"))
            inner = lateral
            levels.insert(0, self.fpn.layer_blocks[i](inner))
        levels, _ = self.fpn.extra_blocks(levels, [], [])
        return dict(zip([*self.level_names, "pool"], levels))


def _level_indices(name: str, options: dict) -> tuple[int, ...]:
    """timm's numbers of the features that the levels are computed from, the last one of each stride.

    Raises:
        ValueError: as for `PyramidBackbone`.
    """
    last_of_stride = {stride: number for number, stride in numbered_strides(name, options) if stride >= _FINEST}
    strides = sorted(last_of_stride)
    if not strides:
        raise ValueError(f"{name!r} has no feature of stride {_FINEST} or more; choose another backbone")
    if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise ValueError(
            f"a pyramid needs levels of which each has twice the stride of the one before, {name!r} has {strides}; "
            "choose another backbone"
        )
    return tuple(last_of_stride[stride] for stride in strides)


def default_places(backbone: FeatureBackbone, context: str) -> tuple[tuple[str, ...], dict]:
    """Where Table 5 of arXiv 2011.03308 is read to have the context module, "on the outputs of bottleneck in layer4".

    In each of the last stage's bottlenecks of a ResNet: "sr" behind the 3x3 convolution, with a reduction to 128
    channels, which is what the table's 0.56 G of ResNet-50 amount to; other modules behind the output. In any other
    backbone behind the last stage.

    Returns:
        The names of the modules of the backbone that it follows, and options of the context module.

    Raises:
        ValueError: timm does not say which module gives the last feature.
    """
    blocks = getattr(backbone.body, "layer4", None)
    if blocks is None:
        place = _last_module(backbone.body)
        if place is None:
            raise ValueError(
                f"timm does not say which module of {type(backbone.body).__name__} gives its last feature; pass its "
                "name as context_places=(...,)"
            )
        return (place,), {}
    if context == "sr" and all(hasattr(block, "act2") and isinstance(block.conv2, nn.Conv2d) for block in blocks):
        width = blocks[0].conv2.out_channels
        options = {"reduction": width // _REDUCED} if width % _REDUCED == 0 else {}
        return tuple(f"layer4.{i}.act2" for i in range(len(blocks))), options
    return tuple(f"layer4.{i}" for i in range(len(blocks))), {}


def _last_module(body: nn.Module) -> str | None:
    """Name of the module that the last feature comes from, or None if timm names none that there is.

    timm flattens some names, such as ``stages.0`` to ``stages_0``, and puts the network of others into ``model``.
    """
    name, modules = body.feature_info.module_name()[-1], dict(body.named_modules())
    return next((each for each in (name, name.replace(".", "_"), f"model.{name}") if each in modules), None)


def stem_and_stages(backbone: PyramidBackbone, count: int) -> list[nn.Parameter]:
    """The parameters of the stem and of the first ``count`` stages: all that the level of this number depends on.

    Args:
        backbone: the backbone.
        count: number of stages, from 0 for none to the number of levels.

    Raises:
        ValueError: there are fewer stages.
    """
    if not 0 <= count <= len(backbone.strides):
        raise ValueError(f"frozen_stages={count}: the backbone has {len(backbone.strides)} stages")
    if not count:
        return []
    parameters = [p for p in backbone.body.parameters() if p.requires_grad]
    like = parameters[0]
    was_training = backbone.training
    backbone.eval()
    try:
        feature = FeatureBackbone.forward(backbone, like.new_zeros(1, backbone.in_channels, 64, 64))[count - 1]
        grads = torch.autograd.grad(feature.sum(), parameters, allow_unused=True)
    finally:
        backbone.train(was_training)
    return [p for p, grad in zip(parameters, grads) if grad is not None]
