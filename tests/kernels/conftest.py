"""What every operator's test needs: a device, maps to feed, and a judge of accuracy."""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what a deterministic cuBLAS asks for, before it starts

import pytest
import torch


@pytest.fixture(autouse=True)
def _poisoned_memory():
    """Uninitialized floating memory holds NaN, so that reading what no kernel wrote cannot go unseen."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory and torch.empty(8).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def feature_map(device):
    """Make a map with a mean, as features after a ReLU have one: ``(shape, dtype, channels_last, grad)``."""

    def make(shape, dtype=torch.float32, channels_last=False, grad=True):
        generator = torch.Generator().manual_seed(sum(shape))
        x = (torch.randn(shape, generator=generator) + 0.3).to(device, dtype)
        if channels_last:
            x = x.to(memory_format=torch.channels_last)
        return x.requires_grad_(grad)

    return make


@pytest.fixture
def assert_accurate():
    """Check that results err, against float64, at most twice as much as PyTorch's own at the same precision.

    The margin is one rounding of the result, since PyTorch's own error can be zero by luck on a few numbers.
    """

    def check(results, own, exact, dtype):
        assert len(results) == len(own) == len(exact)
        for index, (result, plain, truth) in enumerate(zip(results, own, exact, strict=True)):
            assert result.shape == truth.shape, index
            error, allowed = ((each.double() - truth).norm().item() for each in (result, plain))
            allowed = 2 * allowed + torch.finfo(dtype).eps * truth.norm().item()
            assert error <= allowed, f"result {index}: error {error:.3g}, allowed {allowed:.3g}"

    return check


@pytest.fixture
def copies_of():
    """Names of the library operations that copied at least ``numel`` elements while ``function`` ran."""

    def run(function, numel):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
            function()
        copying = ("aten::clone", "aten::contiguous", "aten::_to_copy")
        return [
            event.name
            for event in profile.events()
            if event.name in copying and any(s and torch.Size(s).numel() >= numel for s in event.input_shapes[:1])
        ]

    return run


@pytest.fixture
def idle():
    """The driver that launches nothing: CPU tensors take an H100's path, and ``idle.launches`` records its launches."""
    pytest.importorskip("triton")
    from srzoo_kernels.idle_driver._triton import idle_driver

    with idle_driver() as driver:
        yield driver
