"""The operators of srzoo. Imports torch alone; ``kernels/README.md`` has the mathematics."""

from .channel_affine.op import channel_affine
from .checks import NonFiniteError
from .conv2d_act.op import conv2d_act, serves_conv2d_act
from .decompositions import decompositions
from .depthwise_conv2d.op import depthwise_conv2d
from .gram.op import gram
from .graph_reason.op import attention_reason, graph_reason
from .panoptic_merge.op import panoptic_merge
from .paste_masks.frames import aligned_frames, torchvision_frames
from .paste_masks.op import paste_masks
from .squeeze_reasoning.op import squeeze_reasoning, squeeze_reasoning_weights
from .upsample_argmax.op import upsample_argmax
from .upsample_bilinear.op import upsample_bilinear
from .upsample_cross_entropy.labels import check_labels
from .upsample_cross_entropy.op import upsample_cross_entropy

__all__ = [
    "NonFiniteError",
    "aligned_frames",
    "attention_reason",
    "channel_affine",
    "check_labels",
    "conv2d_act",
    "decompositions",
    "depthwise_conv2d",
    "gram",
    "graph_reason",
    "panoptic_merge",
    "paste_masks",
    "serves_conv2d_act",
    "squeeze_reasoning",
    "squeeze_reasoning_weights",
    "torchvision_frames",
    "upsample_argmax",
    "upsample_bilinear",
    "upsample_cross_entropy",
]
