import numpy as np
import pytest
from pycocotools import mask as coco_mask

from srzoo.tasks.outlines import polygons


def drawn(found, size):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(found, *size))).astype(bool)


def test_a_rectangle_has_four_corners():
    mask = np.zeros((6, 9), bool)
    mask[1:4, 2:7] = True
    (corners,) = polygons(mask, 10, 20)
    assert sorted(zip(corners[::2], corners[1::2])) == [(12, 21), (12, 24), (17, 21), (17, 24)]


@pytest.mark.parametrize("density", [0.1, 0.5, 0.6, 0.8, 0.95])
def test_any_mask_is_drawn_again_by_pycocotools(density):
    """Noise has parts that touch at a corner, holes in holes, and holes above one another."""
    rng = np.random.default_rng(round(100 * density))
    for size in ((1, 1), (1, 9), (7, 1), (12, 17), (33, 40)):
        mask = rng.random(size) < density
        mask[0, 0] = True
        assert (drawn(polygons(mask), size) == mask).all()


def test_holes_in_holes():
    """Rings in one another, and two holes side by side below one straight side."""
    mask = np.ones((21, 30), bool)
    mask[3:18, 3:18] = False
    mask[5:16, 5:16] = True
    mask[8:10, 7:9] = mask[8:10, 11:13] = mask[12:14, 7:9] = False
    mask[4:9, 22:25] = mask[12:14, 22:24] = False
    found = polygons(mask)
    assert len(found) == 2
    assert (drawn(found, mask.shape) == mask).all()


def test_an_empty_mask():
    assert polygons(np.zeros((5, 4), bool)) == []
