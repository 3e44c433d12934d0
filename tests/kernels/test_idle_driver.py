"""The driver that launches nothing."""

import pytest
import torch

pytest.importorskip("triton")
from triton.runtime import driver

from srzoo_kernels import NonFiniteError, channel_affine, gram
from srzoo_kernels.idle_driver._triton import idle_driver
from srzoo_kernels.launch import A100, H100, INTERPRETER, target_of


def test_records_the_launches_of_the_gpu_s_path(idle):
    x = torch.randn(2, 64, 8, 9, dtype=torch.float16)
    second, first = gram(x)
    assert (second.shape, first.shape, second.dtype) == ((2, 64, 64), (2, 64), torch.float32)
    assert idle.launches[0].kernel == "pixel_product_kernel"
    assert idle.count == len(idle.launches) >= 1
    assert idle.launches[0].grid[2] == 2


def test_the_cpu_s_own_path_is_back_afterwards():
    before = driver._active
    x = torch.full((1, 8, 3, 4), float("inf"))
    with idle_driver() as idle:
        assert target_of(x) == H100
        channel_affine(x, torch.full((1, 8, 8), float("nan")))  # a GPU is not waited for to look at values
        assert idle.count == 1
    assert driver._active is before and target_of(x) == INTERPRETER
    with pytest.raises(NonFiniteError, match=r"^x .*image 0\b.*\b96 of 96 "):
        gram(x)


def test_what_it_compiles_is_kept_apart_from_other_devices_kernels():
    kept = []
    for target in (H100, A100, H100):
        with idle_driver(target) as idle:
            gram(torch.randn(1, 64, 3, 5))
            assert idle.count == 1
            kept.append(driver.active.get_current_device())
    assert kept[0] == kept[2] != kept[1] and not any(isinstance(each, int) for each in kept)
