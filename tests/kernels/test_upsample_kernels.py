"""The Triton kernels of both upsampling operators; ``test_interpreter.py`` runs this file where there is no GPU.

Every size is as small as its case allows: an interpreted step of a program takes milliseconds.
"""

import pytest
import torch
from torch.nn import functional as F

from srzoo_kernels import check_labels, upsample_argmax, upsample_bilinear, upsample_cross_entropy
from srzoo_kernels.bilinear import tiles
from srzoo_kernels.launch import interpreted, triton_serves
from srzoo_kernels.upsample_argmax import reference as argmax
from srzoo_kernels.upsample_cross_entropy import reference as loss

CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


@pytest.fixture(autouse=True)
def _kernels_run(device):
    if not triton_serves(torch.empty(0, device=device)):
        pytest.skip("no GPU, and Triton is not interpreted")


def random_logits(shape, dtype, memory_format):
    generator = torch.Generator().manual_seed(sum(shape))
    return (3 * torch.randn(shape, generator=generator)).to(dtype).contiguous(memory_format=memory_format)


@pytest.mark.skipif(not interpreted(), reason="a GPU compiles")
def test_the_kernels_are_interpreted():
    """TRITON_INTERPRET set too late, or not at all, would leave the plain PyTorch code to be tested against itself."""
    from srzoo_kernels.bilinear._triton import source_position

    assert type(source_position).__name__ == "InterpretedFunction"


@pytest.mark.parametrize(
    ("shape", "size", "dtype", "memory_format", "align_corners"),
    [
        ((2, 5, 3, 4), (24, 32), torch.float32, CONTIGUOUS, False),  # eight rows a tile
        ((1, 3, 3, 33), (13, 130), torch.float32, CONTIGUOUS, False),  # four, and a second tile of columns
        ((1, 5, 7, 5), (9, 11), torch.float16, CHANNELS_LAST, False),
        ((1, 5, 7, 5), (14, 5), torch.bfloat16, CONTIGUOUS, True),
        ((1, 5, 7, 5), (4, 3), torch.float64, CHANNELS_LAST, False),
        ((1, 1, 1, 1), (5, 3), torch.float32, CONTIGUOUS, False),
        ((1, 4, 1, 3), (1, 9), torch.float32, CONTIGUOUS, True),
        ((1, 257, 2, 2), (8, 8), torch.float32, CONTIGUOUS, False),
        ((0, 3, 2, 2), (8, 8), torch.float32, CONTIGUOUS, False),
    ],
)
def test_labels(shape, size, dtype, memory_format, align_corners, device):
    logits = random_logits(shape, dtype, memory_format)
    there = logits.to(device)
    labels, probability = upsample_argmax(there, size, align_corners, return_probability=True)
    expected, expected_probability = argmax.upsample_argmax(logits.double(), size, align_corners, True)
    assert labels.dtype == expected.dtype
    assert torch.equal(labels.cpu(), expected)
    # A float32 position near 33 is off by up to 2e-6, and the logits differ by up to 20 between neighbours.
    torch.testing.assert_close(probability.cpu(), expected_probability, rtol=5e-5, atol=0)
    assert torch.equal(labels, upsample_argmax(there, size, align_corners))


def test_equal_logits_give_the_first_class(device):
    assert not upsample_argmax(torch.zeros(1, 3, 2, 2, device=device), (8, 8)).any()


@pytest.mark.parametrize(
    ("k", "source", "size", "dtype", "memory_format", "options"),
    [
        (5, (3, 4), (9, 13), torch.float32, CONTIGUOUS, {}),
        (5, (3, 4), (9, 13), torch.float64, CHANNELS_LAST, {"align_corners": True}),
        (5, (2, 3), (8, 6), torch.bfloat16, CONTIGUOUS, {"label_smoothing": 0.2, "weighted": True}),
        (19, (2, 2), (6, 5), torch.float16, CONTIGUOUS, {}),
        (3, (5, 4), (3, 2), torch.float32, CONTIGUOUS, {"label_smoothing": 0.1}),  # fewer pixels than logits
        (3, (1, 1), (4, 3), torch.float32, CONTIGUOUS, {}),
        (3, (2, 34), (2, 40), torch.float32, CONTIGUOUS, {}),  # a second tile of columns in both kernels
        # A second block of classes; cells with and without a spare.
        (9, (3, 5), (24, 40), torch.float32, CONTIGUOUS, {"align_corners": True}),
        (2, (4, 1), (1, 5), torch.float32, CONTIGUOUS, {"align_corners": True}),
        (2, (7, 6), (50, 3), torch.float32, CHANNELS_LAST, {}),
        (4, (3, 3), (9, 9), torch.float32, CONTIGUOUS, {"ohem": (0.2, 5)}),
        (4, (3, 3), (9, 9), torch.float32, CONTIGUOUS, {"ohem": (0.0, 7)}),
    ],
)
def test_loss_and_gradient(k, source, size, dtype, memory_format, options, device):
    generator = torch.Generator().manual_seed(k)
    logits = random_logits((1, k, *source), dtype, memory_format)
    target = torch.randint(k, (1, *size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.3] = 255
    options = dict(options)
    weight = torch.rand(k, generator=generator) + 0.2 if options.pop("weighted", False) else None
    there = logits.to(device).requires_grad_()
    value = upsample_cross_entropy(
        there, target.to(device), weight=None if weight is None else weight.to(device), **options
    )
    (gradient,) = torch.autograd.grad(value, there)
    exact = logits.double().requires_grad_()
    weight = None if weight is None else weight.double()
    expected = loss.upsample_cross_entropy(exact, target, weight=weight, **options)
    (expected_gradient,) = torch.autograd.grad(expected, exact)
    torch.testing.assert_close(value.detach().double().cpu(), expected.detach(), rtol=1e-5, atol=0)
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-5}.get(dtype, 2**-7) * float(expected_gradient.abs().max())
    torch.testing.assert_close(gradient.double().cpu(), expected_gradient, rtol=0, atol=tolerance)


def test_no_labelled_pixel_is_a_loss_of_zero(device):
    logits = torch.randn(1, 3, 2, 2, device=device, requires_grad=True)
    nothing = upsample_cross_entropy(logits, torch.full((1, 8, 8), 255, device=device))
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.1, "weight": [0.5, 1.0, 2.0]},
        {"ohem": (0.3, 9)},
        {"ohem": (0.3, 0), "weight": [0.5, 1.0, 2.0]},
        {"ohem": (0.0, 999), "label_smoothing": 0.2},
    ],
    ids=str,
)
def test_every_option_of_the_kernels(options, device):
    logits = random_logits((2, 3, 3, 4), torch.float32, CONTIGUOUS)
    target = torch.randint(3, (2, 9, 12), generator=torch.Generator().manual_seed(0))
    target[:, :3, ::2] = 1  # also ignored: an id that is a class
    for dtype in (torch.int64, torch.uint8):
        weight = torch.tensor(options["weight"], device=device) if "weight" in options else None
        there = logits.clone().to(device).requires_grad_()
        arguments = options | {"weight": weight, "ignore_index": 1}
        value = upsample_cross_entropy(there, target.to(device, dtype), **arguments)
        value.backward()
        exact = logits.double().requires_grad_()
        arguments["weight"] = None if weight is None else weight.double().cpu()
        expected = loss.upsample_cross_entropy(exact, target, **arguments)
        expected.backward()
        torch.testing.assert_close(value.detach().double().cpu(), expected.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(there.grad.double().cpu(), exact.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", [3, -1, 2**32, -(2**40)])
@pytest.mark.parametrize("threshold", [None, 0.7])
def test_a_wrong_label_is_a_loss_and_a_gradient_of_nan(wrong, threshold, device):
    """A GPU is not waited for to look; `check_labels` then tells which label it was."""
    from srzoo_kernels.upsample_cross_entropy._triton import upsample_cross_entropy_triton

    logits = random_logits((1, 3, 2, 2), torch.float32, CONTIGUOUS).to(device)
    target = torch.zeros(1, 5, 6, dtype=torch.int64, device=device)
    target[0, :, 0] = 255
    found = []
    for label in (255, wrong):
        target[0, 4, 5] = label
        found.append(upsample_cross_entropy_triton(logits, target, None, 255, 0.0, threshold, 3, False, True))
    (value, gradient), (broken, broken_gradient) = found
    assert value.isfinite() and gradient.isfinite().all()
    assert broken.isnan() and broken_gradient.isnan().all()
    with pytest.raises(ValueError, match=rf"0\.\.2\b.*255.*\b1 .*{wrong}"):
        check_labels(target, 3)


@pytest.mark.skipif(not interpreted(), reason="a GPU is not waited for")
def test_wrong_labels_are_named(device):
    with pytest.raises(ValueError, match=r"0\.\.2\b.*\b64 .*\b3$"):
        upsample_cross_entropy(torch.zeros(1, 3, 2, 2, device=device), torch.full((1, 8, 8), 3, device=device))


def test_a_pixel_that_no_output_reads_gets_no_gradient(device):
    """Neither of its own nor, if it is not finite, of its neighbours; one that is ignored gives none either."""
    for value in (float("inf"), float("nan")):
        logits = random_logits((1, 3, 2, 40), torch.float32, CONTIGUOUS).to(device)
        logits[..., 10] = value
        target = torch.tensor([[0, 1, 2, 255]] * 4)[None].to(device)
        logits.requires_grad_()
        upsample_cross_entropy(logits, target).backward()
        gradient = logits.grad.clone()
        assert gradient.isfinite().all() and gradient.any() and not gradient[..., 10].any()


def test_columns_that_lie_far_apart(device, monkeypatch):
    torch.use_deterministic_algorithms(False)  # in which PyTorch's cross-entropy of maps raises an error on a GPU
    logits = random_logits((1, 5, 7, 6), torch.float32, CHANNELS_LAST).to(device).mT
    target = torch.randint(5, (1, 12, 14), generator=torch.Generator().manual_seed(0)).to(device)
    monkeypatch.setattr(tiles, "MOST_ELEMENTS", 8)
    assert torch.equal(upsample_argmax(logits, (12, 14)), argmax.upsample_argmax(logits, (12, 14)))
    torch.testing.assert_close(upsample_bilinear(logits, (12, 14)), F.interpolate(logits, (12, 14), mode="bilinear"))
    torch.testing.assert_close(upsample_cross_entropy(logits, target), loss.upsample_cross_entropy(logits, target))
