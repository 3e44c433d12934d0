"""The one way to register an operator, and the namespace they are registered in."""

from collections.abc import Callable
from functools import wraps

import torch
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from .autocast import without_autocast

# Hugging Face's `kernels` loads this package under a name of its own, perhaps beside the installed one.
NAMESPACE = "srzoo" if __package__ == "srzoo_kernels" else f"srzoo_{__package__.rpartition('.')[2].strip('_')}"
_AUTOCAST_DEVICES = ("cuda", "cpu")
_libraries: list[torch.library.Library] = []  # an operator is gone with the library that registered it


def register(
    name: str,
    kernel: Callable,
    *,
    fake: Callable,
    flops: Callable | None = None,
    save: Callable | None = None,
    backward: Callable | None = None,
    autocast: torch.dtype | None = None,
    detached: bool = False,
    namespace: str = NAMESPACE,
) -> torch._ops.OpOverload:
    """Register ``kernel`` as the operator ``namespace::name`` on every device.

    A gradient is an operator of its own, registered before the one that it belongs to. It has no ``backward``, so that
    a second derivative is refused.

    Args:
        name: of the operator.
        kernel: computes it on any device, and picks the code there; its annotations are the operator's schema. It
            runs without autocast, which would round the operands of the products inside, and unless ``detached`` on
            operands that require no gradient.
        fake: of the same arguments, returns empty tensors of the results' shapes, dtypes and strides.
        flops: of the arguments, with shapes in place of tensors, and the keyword ``out_shape``: the operations that
            are executed, two per multiply-add.
        save: ``(ctx, inputs, output)``, saves what ``backward`` needs.
        backward: ``(ctx, *gradients)``, returns a gradient or None for every argument.
        autocast: the dtype that floating operands are cast to under autocast; with None they are taken as they come.
        detached: every caller detaches the operands, or has made sure that no gradient is wanted. The operator then
            knows no autograd, which saves its caller a third of the time.
        namespace: another one to publish the operators under.

    Returns:
        What calls the operator; takes positional arguments only.

    Raises:
        ValueError: the operator is registered already.
    """
    qualified = f"{namespace}::{name}"
    if hasattr(getattr(torch.ops, namespace), name):
        raise ValueError(f"operator {qualified} is registered already; choose another name or namespace")
    # Not triton_op, which Inductor decomposes to Triton on a CPU, and fails. Nor custom_op, which registers the same
    # and then checks on every call that no result is one of the operands.
    library = torch.library.Library(namespace, "FRAGMENT")
    _libraries.append(library)
    kernel = without_autocast(kernel if detached else _without_gradients(kernel))
    library.define(name + torch.library.infer_schema(kernel, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, fake, lib=library)
    if not detached:
        backward = backward or _refusal(qualified)
        torch.library.register_autograd(qualified, backward, setup_context=save, lib=library)
    if autocast is not None:
        for device_type in _AUTOCAST_DEVICES:
            torch.library.register_autocast(qualified, device_type, autocast, lib=library)
    operator = getattr(getattr(torch.ops, namespace), name)
    if flops is not None:
        register_flop_formula(operator)(flops)
    return operator.default


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode AD is active, which take plain PyTorch code only.

    In what is compiled, too: Dynamo knows both, and guards on them.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _without_gradients(kernel: Callable) -> Callable:
    """Run ``kernel`` on operands that require no gradient.

    They keep ``requires_grad`` inside of an operator, and ``torch.matmul`` picks ``mm`` or ``bmm`` by it: the bits of
    one gradient would depend on which others are wanted.
    """

    @wraps(kernel)
    def run(*operands):
        return kernel(
            *[each.detach() if isinstance(each, torch.Tensor) and each.requires_grad else each for each in operands]
        )

    return run


def _refusal(qualified: str) -> Callable:
    def backward(ctx, *gradients):
        raise RuntimeError(f"{qualified} has no autograd formula: it cannot be differentiated (again)")

    return backward
