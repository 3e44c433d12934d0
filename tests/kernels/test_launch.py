"""Where Triton is launched, and in which precision it multiplies."""

import pytest
import torch

from srzoo_kernels import (
    channel_affine,
    conv2d_act,
    gram,
    launch,
    upsample_argmax,
    upsample_bilinear,
    upsample_cross_entropy,
)
from srzoo_kernels.bilinear import tiles

pytest.importorskip("triton")

# Each in a process of its own would take seconds; "none" takes a switch back.
SWITCHES = """
import torch
from srzoo_kernels import gram
from srzoo_kernels.conv2d_act.op import _is_product
from srzoo_kernels.idle_driver._triton import idle_driver
from srzoo_kernels.launch import convolves_in_tf32, multiplies_in_tf32

backends, x = torch.backends, torch.randn(1, 64, 16, 16)
def told(name):
    with idle_driver():
        gram(x)
    _is_product(x, torch.randn(64, 64, 1, 1), (1, 1), (0, 0))
    assert not multiplies_in_tf32(x.half()) and not convolves_in_tf32(x.half())
    print(name, multiplies_in_tf32(x), convolves_in_tf32(x), sep=": ")

told("at first")
backends.cuda.matmul.allow_tf32 = True
told("allowed")
backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = False
told("not allowed")
if hasattr(backends.cuda.matmul, "fp32_precision"):
    backends.cuda.matmul.fp32_precision = "tf32"
    told("products")
    backends.cuda.matmul.fp32_precision = "ieee"
    backends.cudnn.conv.fp32_precision = "tf32"
    told("convolutions")
    backends.cuda.matmul.fp32_precision = backends.cudnn.conv.fp32_precision = "none"
    backends.fp32_precision = "tf32"
    told("all")
"""


def test_every_switch_of_tf32(run_python):
    done = run_python("-c", SWITCHES)
    assert done.returncode == 0, done.stderr
    expected = ["at first: False: True", "allowed: True: True", "not allowed: False: False"]
    newer = ["products: True: False", "convolutions: False: True", "all: True: True"]
    assert done.stdout.splitlines() == expected + (
        newer if hasattr(torch.backends.cuda.matmul, "fp32_precision") else []
    )


MANY = 9

CALLS = {
    "gram": lambda: gram(torch.randn(MANY, 16, 1, 1)),
    "channel_affine": lambda: channel_affine(torch.randn(MANY, 2, 1, 1), torch.randn(MANY, 2, 2)),
    "upsample_argmax": lambda: upsample_argmax(torch.randn(MANY, 2, 1, 1), (1, 2)),
    "upsample_bilinear": lambda: upsample_bilinear(torch.randn(MANY, 2, 1, 1), (1, 2)),
    "upsample_cross_entropy": lambda: upsample_cross_entropy(
        torch.randn(MANY, 2, 1, 1), torch.zeros(MANY, 1, 2, dtype=torch.uint8)
    ),
    "rows": lambda: upsample_argmax(torch.randn(1, 2, MANY, 1), (MANY, 1)),
    "classes": lambda: upsample_cross_entropy(torch.randn(1, MANY, 1, 1), torch.zeros(1, 1, 2, dtype=torch.uint8)),
    "conv2d_act": lambda: conv2d_act(
        torch.randn(MANY, 2, 3, 3).contiguous(memory_format=torch.channels_last), torch.randn(3, 3, 2)
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_no_grid_has_room_for_is_pytorch_s(name, idle, monkeypatch):
    """A grid takes 65535 programs along its second and third axis: images, classes, or tiles of rows."""
    CALLS[name]()
    before = idle.count
    assert before > 0
    for module in (launch, tiles):
        monkeypatch.setattr(module, "MOST_PROGRAMS", MANY - 1)
    CALLS[name]()
    assert idle.count == before


def test_a_single_class_is_compiled(idle):
    """Of an argument of value 1 Triton makes a constant."""
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    for options in ({}, {"weight": torch.ones(1)}, {"label_smoothing": 0.1}):
        upsample_cross_entropy(torch.zeros(1, 1, 8, 8, requires_grad=True), labels, **options)
    assert idle.count == 12


ON_A_GPU = """
from unittest import mock
import torch
from srzoo_kernels import gram, launch

x = torch.randn(1, 16, 5, 7)
expected = torch.einsum("nchw,ndhw->ncd", x, x)
gpu = mock.patch.object(launch, "is_on_gpu", lambda x: True)
with gpu, mock.patch.object(launch, "_target", lambda device: launch.H100):
    for _ in range(2):
        torch.testing.assert_close(gram(x)[0], expected)
"""


def test_the_interpreter_with_tensors_on_a_gpu(run_python):
    """It returns no compiled kernel that could be kept."""
    done = run_python("-c", ON_A_GPU, env={"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
