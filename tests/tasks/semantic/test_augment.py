import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from srzoo.data.colour import RandomColour, _hue_rotation
from srzoo.data.opening import open_dataset
from srzoo.data.seeded import AugmentedDataset
from srzoo.labels import IGNORE
from srzoo.tasks.semantic.augment import Augment, RandomScaledCrop
from srzoo.zoo.transform import Transform


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), crop=st.integers(8, 64))
def test_crop_has_its_size_for_every_image(height, width, crop):
    image = np.full((height, width, 3), 90, np.uint8)
    x, y = Augment(crop)(image, np.zeros((height, width), np.uint8))
    assert x.shape == (3, crop, crop)
    assert x.dtype == torch.uint8
    assert y.shape == (crop, crop)
    assert y.dtype == torch.uint8
    assert set(y.unique().tolist()) <= {0, IGNORE}


def test_image_and_mask_move_together():
    """The red channel of the image is the mask times 20, before and after the augmentation."""
    torch.manual_seed(0)
    ids = np.kron(np.arange(12).reshape(3, 4), np.ones((20, 20))).astype(np.uint8)
    image = np.repeat(ids[..., None] * 20, 3, 2)
    for _ in range(10):
        x, y = Augment(40, scale=(0.8, 1.5), jitter=0)(image, ids)
        inside = y != IGNORE
        close = (x[0].float() / 20 - y).abs() < 0.5
        assert close[inside].float().mean() > 0.9  # not at the borders, where the image is mixed
        assert (x[0][~inside] == 0).all()


def test_image_and_mask_are_aligned_after_the_resize():
    """Both hold the number of their column, so a shift of the mask by half a pixel shows."""
    torch.manual_seed(0)
    columns = np.tile(np.arange(90, dtype=np.uint8), (60, 1))
    image = np.repeat(columns[..., None], 3, 2)
    for low in (0.4, 0.7, 1.3, 1.9):
        x, y = Augment(48, (low, low + 0.09), jitter=0)(image, columns)
        inside = (y != IGNORE) & (y > 2) & (y < 87)
        assert (x[0].float() - y)[inside].mean().abs() < 0.15


def test_factor_1_is_the_input_size_of_the_model():
    image, ids = np.zeros((80, 120, 3), np.uint8), np.zeros((80, 120), np.uint8)
    _, y = Augment(64, (1, 1), short_side=40)(image, ids)
    assert (y != IGNORE).sum() == 40 * 60
    _, y = Augment(64, (0.5, 0.5), short_side=40)(image, ids)
    assert (y != IGNORE).sum() == 20 * 30


def test_colour_jitter_keeps_gray_and_strength_0_keeps_the_image():
    torch.manual_seed(0)
    noise = tv_tensors.Image(torch.randint(0, 256, (3, 20, 31), dtype=torch.uint8))
    assert (RandomColour(0, 0)(noise).int() - noise.int()).abs().max() <= 1
    assert (RandomColour(0.3, 0.05)(noise).int() - noise.int()).abs().max() > 3
    for _ in range(5):
        gray = RandomColour(0.3, 0.05)(tv_tensors.Image(torch.full((3, 4, 5), 100, dtype=torch.uint8)))
        assert gray.max() - gray.min() <= 1
        assert 69 <= gray.min() <= 130  # by the brightness alone: a flat image has no contrast


def test_hue_rotation_by_a_third_turns_red_to_green():
    turned = _hue_rotation(torch.tensor(2 * math.pi / 3)) @ torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_blur_changes_the_image_only():
    rng = np.random.default_rng(0)
    image, ids = rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 3, (40, 50), np.uint8)
    sharp, blurred = (Augment(40, (1, 1), jitter=0, blur=blur)(image, ids) for blur in (0.0, 1.0))
    assert blurred[0].float().std() < 0.95 * sharp[0].float().std()
    assert set(blurred[1].unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (4, np.float32)])
def test_noise_of_any_strength_up_to_the_given_one_changes_the_image_only(channels, dtype):
    image, ids = np.full((50, 60, channels), 128, dtype), np.random.default_rng(0).integers(0, 3, (50, 60), np.uint8)
    deviations = []
    for seed in range(40):
        torch.manual_seed(seed)
        x, y = Augment(40, (1, 1), jitter=0, noise=0.1)(image, ids)
        assert x.dtype == torch.from_numpy(image).dtype and 0 <= x.min() <= x.max() <= 255
        assert set(y.unique().tolist()) == {0, 1, 2}
        deviations.append(x.float().std().item())
        assert abs(x.float().mean().item() - 128) < 2  # no shift: it is rounded, not cut off
    assert 20 < max(deviations) < 27 and min(deviations) < 5


def test_crops_of_one_class_are_drawn_again():
    torch.manual_seed(0)
    ids = np.zeros((64, 256), np.uint8)
    ids[:, 200:] = 1
    image = np.zeros((64, 256, 3), np.uint8)
    both = [len(Augment(48, (1, 1), max_class_share=s)(image, ids)[1].unique()) for s in (0.75, 1.0) for _ in range(20)]
    assert sum(both[:20]) > sum(both[20:])


def test_sample_depends_only_on_seed_and_position(small_camvid):
    def sample(seed, position):
        return AugmentedDataset(open_dataset(small_camvid, "train"), Augment(64), seed)[position]

    before = torch.get_rng_state()
    first, again, next_epoch, other = sample(0, 1), sample(0, 1), sample(0, 3), sample(1, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], next_epoch[0])
    assert not torch.equal(first[0], other[0])


def test_a_short_side_beyond_two_megapixels_is_trained_with():
    size = RandomScaledCrop(512, (1, 1), 2160, 1, Transform(512).with_short_side(2160).max_pixels).base_size(
        (2160, 3840)
    )
    assert size == (2160, 3840)
    with pytest.warns(UserWarning, match="3840x2160 .* not 2160"):
        RandomScaledCrop(512, (1, 1), 2160, 1).base_size((2160, 3840))


def test_vertical_flips_and_turns_move_image_and_mask_together():
    ids = np.arange(16, dtype=np.uint8).reshape(4, 4)
    image = np.repeat(ids[..., None] * 10, 3, 2)
    seen, plain = set(), set()
    for seed in range(60):
        torch.manual_seed(seed)
        x, y = Augment(4, (1, 1), jitter=0, max_class_share=1, vertical_flip=True, turns=True)(image, ids)
        assert torch.equal(x[0], y * 10)
        seen.add(tuple(y.flatten().tolist()))
        torch.manual_seed(seed)
        plain.add(tuple(Augment(4, (1, 1), jitter=0, max_class_share=1)(image, ids)[1].flatten().tolist()))
    assert len(seen) == 8
    assert len(plain) == 2


def test_without_flips_left_stays_left():
    ids = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for seed in range(20):
        torch.manual_seed(seed)
        _, y = Augment(4, (1, 1), jitter=0, max_class_share=1, flip=False)(np.repeat(ids[..., None], 3, 2), ids)
        assert torch.equal(y, torch.from_numpy(ids))


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels(channels):
    image = np.random.default_rng(0).uniform(0, 255, (30, 40, channels)).astype(np.float32)
    x, _ = Augment(16, blur=1.0)(image, np.zeros((30, 40), np.uint8))
    assert x.shape == (channels, 16, 16)
    assert x.dtype == torch.float32
    assert 0 <= x.min() <= x.max() <= 255
