import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from srzoo.data.mask_windows import MaskWindows
from srzoo.models.mask_targets import mask_targets

HEIGHT, WIDTH = 37, 53


def masks_and_boxes(seed, boxes=8):
    """Blobs, one of them empty, one full; boxes anywhere, also of less than a pixel and reaching to the borders."""
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand(5, HEIGHT, WIDTH, generator=generator) < 0.5).to(torch.uint8)
    masks[:, :, :9] = 0
    masks[0], masks[1] = 0, 1
    low = torch.rand(boxes, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    high = low + torch.rand(boxes, 2, generator=generator) ** 2 * (torch.tensor([WIDTH, HEIGHT]) - low)
    return masks, torch.cat([low, high], 1), torch.randint(5, (boxes,), generator=generator)


def dense(masks, boxes, matched, size, aligned):
    regions = torch.cat([matched[:, None].float(), boxes.float()], 1)
    return roi_align(masks[:, None].float(), regions, size, 1.0, 2, aligned)[:, 0]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [1, 7, 28])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_equals_roi_align_of_dense_masks(size, aligned, seed):
    masks, boxes, matched = masks_and_boxes(seed)
    found = mask_targets(MaskWindows.of(masks), boxes, matched, size, aligned)
    assert found.shape == (8, size, size)
    torch.testing.assert_close(found, dense(masks, boxes, matched, size, aligned), atol=1e-5, rtol=0)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(
    "box",
    [
        (0, 0, WIDTH, HEIGHT),
        (WIDTH - 3, HEIGHT - 2, WIDTH, HEIGHT),
        (WIDTH - 1e-3, 3, WIDTH, 20),  # the proposal at x = W whose crop is empty in other libraries
        (WIDTH, 3, WIDTH, 20),
        (WIDTH, HEIGHT, WIDTH, HEIGHT),
        (0, 0, 0, 0),
        (4.5, 5.5, 4.6, 5.7),
        (-3, -2, WIDTH + 4, HEIGHT + 5),
    ],
)
def test_borders(box, aligned):
    masks, _, _ = masks_and_boxes(3)
    boxes, matched = torch.tensor([box] * 5, dtype=torch.float32), torch.arange(5)
    found = mask_targets(MaskWindows.of(masks), boxes, matched, 14, aligned)
    torch.testing.assert_close(found, dense(masks, boxes, matched, 14, aligned), atol=1e-5, rtol=0)


def test_a_mask_that_fills_its_box():
    masks = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    masks[0, 10:20, 20:40] = 1
    boxes = torch.tensor([[20.0, 10.0, 40.0, 20.0], [0.0, 0.0, 40.0, 20.0]])
    whole, quarter = mask_targets(MaskWindows.of(masks), boxes, torch.tensor([0, 0]), 28, aligned=True)
    assert whole.min() >= 0.5 and whole[2:-2, 2:-2].min() == 1
    assert quarter.mean().item() == pytest.approx(0.25, abs=0.01)
    assert quarter[:13, :].max() == quarter[:, :13].max() == 0


def test_no_boxes_and_no_pixels():
    empty = MaskWindows.of(torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8))
    none = mask_targets(empty, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 28)
    assert none.shape == (0, 28, 28)
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    assert not mask_targets(empty, boxes, torch.tensor([1]), 28).any()
