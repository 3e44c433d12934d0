import numpy as np
from PIL import Image

from srzoo.tasks.names import write_names

GRAY = (90, 90, 90)


def written(*masks, size=(400, 300), name="window"):
    """Where names of these masks ``(H, W)`` are, and the number of pixels of each."""
    picture = Image.new("RGB", size, GRAY)
    write_names(picture, [(name, (3 * i, 0, 0)) for i in range(len(masks))], ((mask, 0, 0) for mask in masks))
    pixels = np.asarray(picture)
    return [(pixels == (i, 0, 0)).all(2) for i in range(len(masks))]


def empty(size=(400, 300)):
    return np.zeros(size[::-1], bool)


def test_a_name_is_on_its_mask_and_not_at_the_corner_of_its_window():
    """A staircase from the lower left to the upper right, and one pixel far away, as detectors leave them."""
    mask = empty()
    for i in range(10):
        mask[300 - 30 * (i + 1) : 300 - 30 * i, 40 * i : 40 * i + 60] = True
    (background,) = written(mask)
    assert background.any() and mask[background].all()
    square = empty()
    square[100:200, 150:300], square[0, 0] = True, True
    ys, xs = np.nonzero(written(square)[0])
    assert 100 <= ys.min() < 105 and 150 <= xs.min() < 155


def test_a_name_is_on_what_others_do_not_hide():
    first, second = empty(), empty()
    first[50:250, 50:250] = True
    second[60:240, 60:350] = True
    over, under = written(first, second)
    assert first[over].all() and under.any() and (second & ~first)[under].all()
    assert not written(first, first)[1].any()


def test_names_do_not_overlap():
    """Stripes lower than a name, each with a post that makes its window high."""
    masks = [empty() for _ in range(5)]
    for i, mask in enumerate(masks):
        mask[50:200, 8 * i : 8 * i + 6] = mask[100 + 7 * i : 107 + 7 * i, 50:120] = True
    places = [np.nonzero(each) for each in written(*masks) if each.any()]
    boxes = [(ys.min(), ys.max(), xs.min(), xs.max()) for ys, xs in places]
    assert len(boxes) > 1
    for i, (top, bottom, left, right) in enumerate(boxes):
        for above, below, before, after in boxes[:i]:
            assert top > below or bottom < above or left > after or right < before


def test_an_object_without_room_has_no_name():
    small, thin = empty(), empty()
    small[100:105, 100:300] = True
    thin[np.arange(300), np.arange(300)] = True
    assert not any(each.any() for each in written(small, thin))


def test_a_window_in_a_large_picture():
    """The mask is given within its window, at an odd place."""
    picture = Image.new("RGB", (3001, 2003), GRAY)
    write_names(picture, [("window", (3, 0, 0))], [(np.ones((200, 700), bool), 1777, 1231)])
    ys, xs = np.nonzero((np.asarray(picture) != GRAY).any(2))
    assert 1231 <= ys.min() < 1245 and 1777 <= xs.min() < 1791 and ys.max() < 1431 and xs.max() < 2477
