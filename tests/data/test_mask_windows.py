import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srzoo.data.mask_windows import MaskWindows


def masks_of(seed, count=5, size=(13, 17)):
    """Sparse masks, one of them empty."""
    masks = torch.from_numpy(np.random.default_rng(seed).random((count, *size)) < 0.03)
    masks[2] = False
    return masks


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_round_trip(seed):
    masks = masks_of(seed)
    windows = MaskWindows.of(masks)
    assert (len(windows), windows.size, windows.pixels.dtype) == (5, (13, 17), torch.uint8)
    assert windows.areas().tolist() == masks.sum((1, 2)).tolist()
    for i, mask in enumerate(masks):
        assert torch.equal(windows.full(i).bool(), mask)
        x0, y0, x1, y1 = windows.windows[i].tolist()
        assert torch.equal(windows.window(i).bool(), mask[y0:y1, x0:x1])
        if mask.any():  # the window is the smallest one
            assert windows.window(i)[[0, -1]].any(1).all() and windows.window(i)[:, [0, -1]].any(0).all()


def test_only_the_windows_are_stored():
    masks = torch.zeros(2, 100, 100, dtype=torch.uint8)
    masks[0, 10:14, 20:25] = 1
    masks[1, 99, 99] = 1
    windows = MaskWindows.of(masks)
    assert windows.windows.tolist() == [[20, 10, 25, 14], [99, 99, 100, 100]]
    assert windows.offsets.tolist() == [0, 20, 21]
    assert windows.pixels.shape == (21,)


def test_selection_and_concatenation():
    masks, other = masks_of(1), masks_of(2)
    windows = MaskWindows.of(masks)
    for chosen in ([4, 0, 2, 0], torch.tensor([1]), [], np.array([3, 1])):
        some = windows.select(chosen)
        assert len(some) == len(chosen)
        assert all(torch.equal(some.full(i).bool(), masks[int(index)]) for i, index in enumerate(chosen))
    both = MaskWindows.cat([windows, MaskWindows.empty((13, 17)), MaskWindows.of(other)], (13, 17))
    assert len(both) == 10
    assert all(torch.equal(both.full(i).bool(), mask) for i, mask in enumerate(torch.cat([masks, other])))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_no_masks(dtype):
    for none in (
        MaskWindows.empty((4, 5)),
        MaskWindows.of(torch.zeros(0, 4, 5, dtype=dtype)),
        MaskWindows.cat([], (4, 5)),
    ):
        assert (len(none), none.size, none.offsets.tolist()) == (0, (4, 5), [0])
        assert none.areas().shape == (0,) and none.pixels.dtype == torch.uint8
        assert none.windows.shape == (0, 4)


def test_the_data_loader_sends_it():
    windows = pickle.loads(pickle.dumps(MaskWindows.of(masks_of(3))))
    assert torch.equal(windows.full(0).bool(), masks_of(3)[0])
    assert torch.equal(windows.to(torch.device("cpu")).pixels, windows.pixels)


def test_any_value_but_0_is_inside():
    masks = torch.zeros(1, 5, 7, dtype=torch.uint8)
    masks[0, 1:3, 2:6] = 255
    assert MaskWindows.of(masks).pixels.tolist() == [1] * 8
