"""Run the Triton kernels of both operators in the interpreter, with every uninitialised tensor full of NaN.

A script of its own, since TRITON_INTERPRET has to be set before triton is first imported; `test_upsample_triton` runs
it. Every size is as small as its case allows: an interpreted step of a program takes milliseconds.
"""

import sys

import torch

from srzoo_kernels import upsample_argmax, upsample_cross_entropy
from srzoo_kernels.upsample_argmax import reference as argmax
from srzoo_kernels.upsample_cross_entropy import reference as loss

torch.use_deterministic_algorithms(True)  # fills what torch.empty returns with NaN, or with the largest integer
assert torch.empty(3).isnan().all()
assert torch.empty(0).new_empty(3).isnan().all()
torch.manual_seed(0)
CHANNELS_LAST = torch.channels_last


def check_argmax(n, k, source, size, dtype=torch.float32, memory_format=torch.contiguous_format, align_corners=False):
    logits = (3 * torch.randn(n, k, *source)).to(dtype).contiguous(memory_format=memory_format)
    labels, probability = upsample_argmax(logits, size, align_corners, return_probability=True)
    expected, expected_probability = argmax.upsample_argmax(logits.double(), size, align_corners, True)
    assert labels.dtype == expected.dtype
    assert torch.equal(labels, expected)
    # A float32 position near 33 is off by up to 2e-6, and the logits differ by up to 20 between neighbours.
    torch.testing.assert_close(probability, expected_probability, rtol=5e-5, atol=0)
    assert torch.equal(labels, upsample_argmax(logits, size, align_corners))


def check_loss(k, source, size, dtype=torch.float32, memory_format=torch.contiguous_format, ignored=0.3, **options):
    logits = (3 * torch.randn(1, k, *source)).to(dtype).contiguous(memory_format=memory_format)
    target = torch.randint(k, (1, *size)).where(torch.rand(1, *size) >= ignored, 255)
    if "weight" in options:
        options["weight"] = torch.rand(k) + 0.2
    results = []
    for function, x in ((upsample_cross_entropy, logits), (loss.upsample_cross_entropy, logits.double())):
        x = x.detach().requires_grad_()
        if x.dtype == torch.float64 and "weight" in options:
            options["weight"] = options["weight"].double()
        value = function(x, target, **options)
        results.append((value.detach().double(), torch.autograd.grad(value, x)[0].double()))
    (value, gradient), (expected, expected_gradient) = results
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-5}.get(dtype, 2**-7)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    largest = float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=tolerance * largest)


def argmax_cases():
    check_argmax(2, 5, (3, 4), (24, 32))  # eight rows a tile
    check_argmax(1, 3, (3, 33), (13, 130))  # four, and a second tile of columns
    check_argmax(1, 5, (7, 5), (9, 11), torch.float16, CHANNELS_LAST)
    check_argmax(1, 5, (7, 5), (14, 5), torch.bfloat16, align_corners=True)
    check_argmax(1, 5, (7, 5), (4, 3), torch.float64, CHANNELS_LAST)
    check_argmax(1, 1, (1, 1), (5, 3))
    check_argmax(1, 4, (1, 3), (1, 9), align_corners=True)
    check_argmax(1, 257, (2, 2), (8, 8))
    check_argmax(0, 3, (2, 2), (8, 8))
    agreeing = upsample_argmax(torch.zeros(1, 3, 2, 2), (8, 8))
    assert not agreeing.any()


def loss_cases():
    check_loss(5, (3, 4), (9, 13))
    check_loss(5, (3, 4), (9, 13), torch.float64, CHANNELS_LAST, align_corners=True)
    check_loss(5, (2, 3), (8, 6), torch.bfloat16, label_smoothing=0.2, weight=True)
    check_loss(19, (2, 2), (6, 5), torch.float16)
    check_loss(3, (5, 4), (3, 2), label_smoothing=0.1)  # fewer pixels than logits
    check_loss(3, (1, 1), (4, 3))
    check_loss(3, (2, 34), (2, 40))  # a second tile of columns in both kernels
    check_loss(9, (3, 5), (24, 40), align_corners=True)  # a second block of classes; cells with and without a spare
    check_loss(2, (4, 1), (1, 5), align_corners=True)
    check_loss(2, (7, 6), (50, 3), memory_format=CHANNELS_LAST)
    check_loss(4, (3, 3), (9, 9), ohem=(0.2, 5))
    check_loss(4, (3, 3), (9, 9), ohem=(0.0, 7))
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    nothing = upsample_cross_entropy(logits, torch.full((1, 8, 8), 255))
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()
    try:
        upsample_cross_entropy(logits, torch.full((1, 8, 8), 3))
    except ValueError as error:
        assert "have: 3" in str(error)
    else:
        raise AssertionError("a label out of range was accepted")


{"argmax": argmax_cases, "loss": loss_cases}[sys.argv[1]]()
# Set too late, or not at all, it would leave the plain PyTorch code to be tested against itself.
assert type(sys.modules["srzoo_kernels.bilinear._triton"].source_position).__name__ == "InterpretedFunction"
print("interpreted")
