import pytest
import torch

from srzoo.layers.attention import pixel_attention, pixel_attention_direct


def maps(value_channels: int, height: int, width: int, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(2, c, height, width, dtype=dtype, requires_grad=True) for c in (8, 8, value_channels)]


@pytest.mark.parametrize("value_channels", [8, 24])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 47)])
def test_both_forms_agree_in_values_and_gradients(size, value_channels):
    leaves = maps(value_channels, *size)
    results = []
    for attention in (pixel_attention, pixel_attention_direct):
        y = attention(*leaves)
        results.append((y, *torch.autograd.grad(y, leaves, torch.ones_like(y).cumsum(2))))
    for value, expected in zip(*results):
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("value_channels", [8, 24])
def test_the_matrix_of_all_pairs_is_never_stored(value_channels):
    """PyTorch stores it without a warning for layouts and widths that its fused kernels do not support."""
    leaves = maps(value_channels, 40, 50, torch.float32)
    with torch.profiler.profile(profile_memory=True) as profile:
        pixel_attention(*leaves).sum().backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < 2000 * 2000  # bytes, a quarter of the matrix of one image
