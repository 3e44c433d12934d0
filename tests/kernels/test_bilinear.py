"""The positions of a bilinear resize, and the resize of some rows alone."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from srzoo_kernels import upsample_argmax
from srzoo_kernels.bilinear.cells import source_positions
from srzoo_kernels.bilinear.rows import interpolate_rows
from srzoo_kernels.bilinear.tiles import with_near_columns
from tests.kernels.properties import given, settings, st

corners = pytest.mark.parametrize("align_corners", [False, True])
SIZES = [((1, 1), (7, 5)), ((7, 5), (33, 47)), ((33, 47), (129, 257)), ((9, 9), (72, 72)), ((16, 12), (5, 7)),
         ((8, 8), (8, 8)), ((7, 300), (61, 1201)), ((1, 9), (1, 30))]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(source=st.integers(1, 600), size=st.integers(1, 2100), align_corners=st.booleans())
def test_positions_are_rounded_as_the_library_rounds_them(source, size, align_corners):
    remainders = torch.stack([(torch.arange(source) % 3 == step).float() for step in range(3)])
    image = remainders[None, :, None].expand(1, 3, 2, source).contiguous()
    library = F.interpolate(image, (2, size), mode="bilinear", align_corners=align_corners)[0, :, 0]
    position = source_positions(size, source, align_corners, torch.float32).clamp(min=0)
    low = position.long().clamp(max=source - 1)
    high = (low + 1).clamp(max=source - 1)
    share = torch.where(high == low, 0, position - low)
    ours = torch.zeros(3, size)
    ours[low % 3, torch.arange(size)] += 1 - share
    ours[high % 3, torch.arange(size)] += share
    assert (ours - library).abs().amax() < 1e-6


def strips(logits, size, align_corners, rows):
    parts = [
        interpolate_rows(logits, top, min(top + rows, size[0]), size, align_corners) for top in range(0, size[0], rows)
    ]
    return torch.cat(parts, 2)


@corners
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_rows_are_those_of_the_library(source, size, memory_format, dtype, align_corners, device):
    logits = torch.randn(2, 5, *source).to(device, dtype).contiguous(memory_format=memory_format)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    whole = F.interpolate(logits.to(wide), size, mode="bilinear", align_corners=align_corners)
    top, bottom = size[0] // 3, size[0] // 3 + (size[0] + 1) // 2
    rows = interpolate_rows(logits, top, bottom, size, align_corners)
    assert rows.dtype == wide
    assert rows.shape == whole[:, :, top:bottom].shape
    # Two interpolations, each rounded three times, of numbers up to about 4; a float64 position is rounded twice.
    tolerance = 12 * torch.finfo(torch.float32).eps if wide == torch.float32 else 1e-12
    if device == "cuda":  # the library's kernel rounds a position there when it is as large as the output's index
        tolerance += max(size) * torch.finfo(wide).eps * float(logits.abs().amax())
    torch.testing.assert_close(rows, whole[:, :, top:bottom], rtol=0, atol=tolerance)


@corners
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("source", "size"), SIZES)
@pytest.mark.parametrize("rows", [29, 1000])
def test_labels_of_strips_are_those_of_the_operator(rows, source, size, dtype, align_corners):
    # On a CPU bit for bit: nearly equal classes everywhere leave each rounding to decide a label.
    logits = (1 + 1e-6 * torch.randn(2, 5, *source)).to(dtype)
    labels = strips(logits, size, align_corners, rows).argmax(1)
    assert torch.equal(labels.to(torch.uint8), upsample_argmax(logits, size, align_corners, return_probability=True)[0])


@corners
def test_rows_stay_on_a_gpu(align_corners):
    with FakeTensorMode():
        rows = interpolate_rows(torch.empty(1, 3, 4, 5, device="cuda").half(), 2, 7, (9, 11), align_corners)
    assert (rows.device.type, rows.dtype, rows.shape) == ("cuda", torch.float32, (1, 3, 5, 11))


def test_logits_are_copied_where_their_columns_lie_too_far_apart():
    """Their offsets in a kernel have 32 bits."""
    large = torch.empty(1, 4096, 4096, 150, device="meta")
    channels_last, exchanged = large.permute(0, 3, 1, 2), large.permute(0, 3, 2, 1)  # columns 614,400 apart
    assert with_near_columns(channels_last, large, None) == (channels_last, large, None)
    found, other, absent = with_near_columns(exchanged, large, None)
    assert found.is_contiguous() and found.shape == exchanged.shape
    assert other is large and absent is None
