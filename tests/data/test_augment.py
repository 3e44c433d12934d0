import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srzoo.data.augment import Augment, AugmentedDataset
from srzoo.data.camvid import CamVid
from srzoo.data.labels import IGNORE


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), crop=st.integers(8, 64))
def test_any_image_gives_a_crop_of_the_asked_size(height, width, crop):
    image = np.full((height, width, 3), 90, np.uint8)
    x, y = Augment(crop)(image, np.zeros((height, width), np.uint8))
    assert x.shape == (3, crop, crop)
    assert x.dtype == torch.uint8
    assert y.shape == (crop, crop)
    assert y.dtype == torch.int64
    assert set(y.unique().tolist()) <= {0, IGNORE}


def test_image_and_mask_move_together():
    """The mask is the image's red channel, so it has to be so afterwards too."""
    torch.manual_seed(0)
    ids = np.kron(np.arange(12).reshape(3, 4), np.ones((20, 20))).astype(np.uint8)
    image = np.repeat(ids[..., None] * 20, 3, 2)
    for _ in range(10):
        x, y = Augment(40, scale=(0.8, 1.5), jitter=0)(image, ids)
        inside = y != IGNORE
        close = (x[0].float() / 20 - y).abs() < 0.5
        assert close[inside].float().mean() > 0.9  # not at the borders, where the image is mixed
        assert (x[0][~inside] == 0).all()


def test_crops_of_one_class_are_drawn_again():
    torch.manual_seed(0)
    ids = np.zeros((64, 256), np.uint8)
    ids[:, 200:] = 1
    image = np.zeros((64, 256, 3), np.uint8)
    both = [len(Augment(48, (1, 1), max_class_share=s)(image, ids)[1].unique()) for s in (0.75, 1.0) for _ in range(20)]
    assert sum(both[:20]) > sum(both[20:])


def test_a_sample_depends_on_seed_and_position_alone(small_camvid):
    def sample(seed, position):
        return AugmentedDataset(CamVid(small_camvid, "train"), Augment(64), seed)[position]

    before = torch.get_rng_state()
    first, again, next_epoch, other = sample(0, 1), sample(0, 1), sample(0, 3), sample(1, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], next_epoch[0])
    assert not torch.equal(first[0], other[0])
