"""How operators are registered."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import channel_affine, gram, graph_reason, operators, upsample_cross_entropy
from srzoo_kernels.channel_affine import op as affine_op
from srzoo_kernels.upsample_argmax import op as argmax_op
from srzoo_kernels.upsample_bilinear import op as bilinear_op


def test_everything_about_an_operator_is_registered_in_one_place():
    def square(x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT

    def gradient(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return (grad + grad.mT) @ x

    gradient = operators.register(
        "square_backward", gradient, fake=lambda grad, x: torch.empty_like(x), namespace="srzoo_test"
    )
    square = operators.register(
        "square",
        square,
        fake=lambda x: x.new_empty(len(x), len(x)),
        flops=lambda shape, **kwargs: 7 * shape[0],
        save=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
        backward=lambda ctx, grad: gradient(grad, *ctx.saved_tensors),
        autocast=torch.float32,
        namespace="srzoo_test",
    )
    x = torch.randn(3, 4, requires_grad=True)
    torch.library.opcheck(square, (x,))
    with FlopCounterMode(display=False) as counter:
        (grad,) = torch.autograd.grad(square(x).sum(), x)
    torch.testing.assert_close(grad, 2 * x.sum(0).expand(3, 4))
    assert counter.get_total_flops() == 7 * 3
    with torch.autocast("cpu", torch.bfloat16):
        inside = square(x.detach().bfloat16())
    assert torch.equal(inside, square(x.detach().bfloat16().float()))  # cast, and the product inside left alone
    for name in ("square", "square_backward"):
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"srzoo_test::{name}", "CUDA")


def test_a_kernel_does_not_see_which_gradients_are_wanted():
    """`torch.matmul` takes another product for an operand that requires a gradient, so the result had other bits."""
    seen = []

    def add(x: torch.Tensor, other: torch.Tensor | None, scale: float) -> torch.Tensor:
        seen.extend(each is not None and each.requires_grad for each in (x, other))
        return x * scale if other is None else x + scale * other

    add = operators.register("add_scaled", add, fake=lambda x, *_: torch.empty_like(x), namespace="srzoo_test")
    x = torch.randn(3, requires_grad=True)
    assert add(x, None, 2.0).requires_grad and add(x, x, 2.0).requires_grad
    with torch.no_grad():
        assert torch.equal(add(x, x, 1.0), 2 * x)
    assert seen == [False] * 6


@pytest.mark.parametrize("key", ["CPU", "CUDA", "MPS", "XPU"])
def test_every_operator_runs_on_every_device(key):
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("srzoo::")]
    assert len(names) >= 15
    for name in names:
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, key), name


def test_a_device_that_is_neither_a_cpu_nor_cuda_runs_plain_pytorch():
    with FakeTensorMode():
        x = torch.randn(1, 8, 3, 5, device="xpu")
        assert affine_op._affine(x, x.new_empty(1, 8, 8), None).device.type == "xpu"
        labels, probability = argmax_op._labels(x, 7, 9, False, True)
        assert labels.device.type == probability.device.type == "xpu"
        assert bilinear_op._resize(x, 7, 9, False).device.type == "xpu"


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="srzoo::gram.*already"):
        operators.register("gram", torch.neg, fake=torch.empty_like)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_no_result_of_a_differentiable_operator_is_a_view(dtype):
    """Autograd refuses to change a view in place if an operator returned it."""
    x = torch.randn(2, 8, 5, 6, dtype=dtype, requires_grad=True)
    target = torch.zeros(2, 9, 9, dtype=torch.int64)
    results = []
    for given in (x, x.to(memory_format=torch.channels_last)):
        matrix, bias = torch.randn(2, 8, 8, dtype=dtype), torch.randn(2, 8, dtype=dtype)
        results += [channel_affine(given, matrix), channel_affine(given, matrix, bias), *gram(given)]
        results += [upsample_cross_entropy(given, target)]
    g = torch.randn(2, 8, requires_grad=True)
    results += [graph_reason(g, torch.randn(4, 4), torch.randn(2, 2))]
    for result in results:
        assert result.requires_grad and not result._is_view()
        result.add_(1)
