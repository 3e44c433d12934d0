import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align

from srzoo.layers.roi_align import PyramidRoIAlign

STRIDES = [4, 8, 16, 32]
SIZE = (256, 320)


def levels_and_boxes(channels=6, images=2, dtype=torch.float32):
    """Boxes from a pixel to the image, so that each level is read, and one exactly at a level's limit."""
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(images, channels, SIZE[0] // s, SIZE[1] // s, generator=generator) for s in STRIDES]
    boxes = []
    for _ in range(images):
        low = torch.rand(30, 2, generator=generator) * torch.tensor([SIZE[1], SIZE[0]])
        high = low + torch.rand(30, 2, generator=generator) ** 2 * (torch.tensor([SIZE[1], SIZE[0]]) - low)
        fixed = torch.tensor([[0.0, 0.0, SIZE[1], SIZE[0]], [10, 10, 122, 122], [0, 0, 224, 224]])
        boxes.append(torch.cat([low, high], 1))
        boxes[-1] = torch.cat([boxes[-1], fixed])
    return [level.to(dtype) for level in levels], boxes


@pytest.mark.parametrize("sampling", [0, 2])
@pytest.mark.parametrize("size", [7, 14])
def test_equals_torchvision(size, sampling):
    levels, boxes = levels_and_boxes()
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], size, sampling if sampling else -1)
    wanted = theirs({str(i): level for i, level in enumerate(levels)}, boxes, [SIZE, SIZE])
    for training in (False, True):
        found = PyramidRoIAlign(STRIDES, size, sampling).train(training)(levels, boxes)
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("aligned", [False, True])
def test_alignment_on_the_level_of_the_region(aligned):
    """By hand: 224 pixels a side belong to stride 16, half of it to stride 8, and so on, with limits at both ends."""
    levels, _ = levels_and_boxes()
    sides = {20.0: 0, 111.0: 0, 112.0: 1, 223.0: 1, 224.0: 2, 250.0: 2}
    for side, level in sides.items():
        box = torch.tensor([[3.3, 2.7, 3.3 + side, 2.7 + side]])
        found = PyramidRoIAlign(STRIDES, 7, 2, aligned)(levels, [box, torch.zeros(0, 4)])
        region = torch.cat([torch.zeros(1, 1), box], 1)
        wanted = roi_align(levels[level], region, 7, 1 / STRIDES[level], 2, aligned)
        assert torch.equal(found, wanted), side


def test_alignment_of_a_ramp():
    """A level that holds its own column: the pixel of column x covers x to x + 1, so its centre is read as x + 0.5."""
    ramp = torch.arange(80.0).repeat(64, 1)[None, None]
    levels = [ramp, *(torch.zeros(1, 1, 64 // 2**i, 80 // 2**i) for i in (1, 2, 3))]
    box = torch.tensor([[40.0, 40.0, 96.0, 96.0]])  # columns 10 to 24 of the level
    centres = 10 + 2 * (torch.arange(7) + 0.5)
    unaligned, aligned = (PyramidRoIAlign(STRIDES, 7, 2, each)(levels, [box])[0, 0, 3] for each in (False, True))
    torch.testing.assert_close(unaligned, centres)
    torch.testing.assert_close(aligned, centres - 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_boxes_stay_float32_on_half_levels(dtype):
    levels, boxes = levels_and_boxes(dtype=dtype)
    found = PyramidRoIAlign(STRIDES, 7)(levels, boxes)
    wide = PyramidRoIAlign(STRIDES, 7)([level.float() for level in levels], boxes)
    assert found.dtype == dtype
    assert torch.equal(found, wide.to(dtype))


def test_every_level_is_in_the_graph_in_training():
    levels, _ = levels_and_boxes(images=1)
    levels = [level.requires_grad_() for level in levels]
    found = PyramidRoIAlign(STRIDES, 7).train()(levels, [torch.tensor([[0.0, 0.0, 8.0, 8.0]])])
    found.sum().backward()
    assert [bool(level.grad.any()) for level in levels] == [True, False, False, False]


def test_no_regions():
    levels, _ = levels_and_boxes()
    for training in (False, True):
        found = PyramidRoIAlign(STRIDES, 7).train(training)(levels, [torch.zeros(0, 4)] * 2)
        assert found.shape == (0, 6, 7, 7)


def test_float64_is_kept():
    levels, boxes = levels_and_boxes(dtype=torch.float64)
    assert PyramidRoIAlign(STRIDES, 7)(levels, boxes).dtype == torch.float64


@pytest.mark.parametrize(("size", "sampling"), [(7, 2), (14, 2), (5, 1), (3, 3)])
@pytest.mark.parametrize("aligned", [False, True])
def test_training_on_a_cpu_equals_torchvision(size, sampling, aligned, monkeypatch):
    """Values and gradients, of boxes inside, across the border, outside of the image, empty and inside out."""
    levels, boxes = levels_and_boxes(dtype=torch.float64)
    odd = torch.tensor([[-90.0, -60, 400, 300], [-80, -80, -40, -40], [30, 30, 30, 30], [50, 60, 45, 52]])
    boxes = [torch.cat([each, odd, odd + 300]).double() for each in boxes]
    levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
    weights = torch.randn(sum(map(len, boxes)), levels[0].shape[1], size, size, dtype=torch.float64)
    layer = PyramidRoIAlign(STRIDES, size, sampling, aligned).train()
    results = []
    for is_sparse in (True, False):
        own = [level.clone().requires_grad_() for level in levels]
        if not is_sparse:
            monkeypatch.setattr(layer, "_is_sparse", lambda level: False)
        found = layer(own, boxes)
        results.append((found.detach(), *torch.autograd.grad((found * weights).sum(), own)))
    assert results[0][1].abs().sum() > 0
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


def test_training_under_autocast_stays_float32():
    levels, boxes = levels_and_boxes()
    levels = [level.requires_grad_() for level in levels]
    layer = PyramidRoIAlign(STRIDES, 7).train()
    wanted = layer(levels, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(levels, boxes)
    assert torch.equal(found, wanted)


def test_training_with_boxes_that_are_not_numbers():
    """A network that has diverged reads zeros, and nothing outside of the memory of its levels."""
    levels, _ = levels_and_boxes(images=1)
    levels = [level.requires_grad_() for level in levels]
    boxes = torch.tensor([[float("nan")] * 4, [0.0, 0.0, float("inf"), 9.0], [5.0, 5.0, 30.0, 30.0]])
    found = PyramidRoIAlign(STRIDES[:1], 7).train()(levels[:1], [boxes])
    assert not found[0].any()
    assert found[2].any()
    found.nansum().backward()
