"""The one way to register an operator, and the namespace they are registered in."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import register_flop_formula

from .autocast import without_autocast

NAMESPACE = "srzoo"
_DEVICES = ("cuda", "cpu")


def register(
    name: str,
    kernel: Callable,
    *,
    fake: Callable,
    flops: Callable | None = None,
    save: Callable | None = None,
    backward: Callable | None = None,
    autocast: torch.dtype | None = None,
    namespace: str = NAMESPACE,
) -> torch._ops.OpOverload:
    """Register ``kernel`` as the operator ``namespace::name`` on CPU and GPU.

    A gradient is an operator of its own, registered before the one that it belongs to. It has no ``backward``, so that
    a second derivative is refused.

    Args:
        name: of the operator.
        kernel: computes it on either device, and picks the code there; its annotations are the operator's schema. It
            runs without autocast, which would round the operands of the products inside.
        fake: of the same arguments, returns empty tensors of the results' shapes, dtypes and strides.
        flops: of the arguments, with shapes in place of tensors, and the keyword ``out_shape``: the operations that
            are executed, two per multiply-add.
        save: ``(ctx, inputs, output)``, saves what ``backward`` needs.
        backward: ``(ctx, *gradients)``, returns a gradient or None for every argument.
        autocast: the dtype that floating operands are cast to under autocast; with None they are taken as they come.
        namespace: another one to publish the operators under.

    Returns:
        What calls the operator; takes positional arguments only.

    Raises:
        ValueError: the operator is registered already.
    """
    qualified = f"{namespace}::{name}"
    if hasattr(getattr(torch.ops, namespace), name):
        raise ValueError(f"operator {qualified} is registered already; choose another name or namespace")
    # Not triton_op, which Inductor decomposes to Triton on a CPU, and fails. An operator without a gradient would cost
    # its caller half as much by Library.define and impl; nothing outside this function would change.
    definition = torch.library.custom_op(qualified, without_autocast(kernel), mutates_args=(), device_types=_DEVICES)
    definition.register_fake(fake)
    if backward is not None:
        definition.register_autograd(backward, setup_context=save)
    if autocast is not None:
        for device_type in _DEVICES:
            definition.register_autocast(device_type, autocast)
    operator = getattr(getattr(torch.ops, namespace), name)
    if flops is not None:
        register_flop_formula(operator)(flops)
    return operator.default
