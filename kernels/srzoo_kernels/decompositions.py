"""The operators of a network in plain PyTorch, for programs that run where srzoo is not installed."""

from collections.abc import Callable
from functools import wraps

import torch

from .channel_affine.reference import channel_affine
from .depthwise_conv2d.reference import depthwise_conv2d
from .gram.reference import gram
from .graph_reason.reference import attention_reason, graph_reason
from .operators import NAMESPACE
from .squeeze_reasoning import composed
from .squeeze_reasoning.reference import squeeze_reasoning, squeeze_reasoning_weights


def decompositions() -> dict[torch._ops.OpOverload, Callable]:
    """For ``torch.export.ExportedProgram.run_decompositions``: the operators' references, by operator.

    They are the operators that networks call in evaluation. Reasoning is computed in float32 for half precisions, as
    the operators do.
    """
    references = {
        "channel_affine": channel_affine,
        "depthwise_conv2d": depthwise_conv2d,
        "gram": gram,
        "graph_reason": _widened(graph_reason),
        "attention_reason": _widened(attention_reason),
        "squeeze_reasoning": _widened(squeeze_reasoning),
        "squeeze_reasoning_training": composed.block,  # of a program that was exported without torch.no_grad()
        "squeeze_reasoning_weights": _widened(squeeze_reasoning_weights),
    }
    operators = getattr(torch.ops, NAMESPACE)
    return {getattr(operators, name).default: reference for name, reference in references.items()}


def _widened(reference: Callable) -> Callable:
    @wraps(reference)
    def widened(*operands: torch.Tensor) -> torch.Tensor:
        dtype = operands[0].dtype
        wide = torch.promote_types(dtype, torch.float32)
        return reference(*(operand.to(wide) for operand in operands)).to(dtype)

    return widened
