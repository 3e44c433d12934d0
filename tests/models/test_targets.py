"""Targets that torchvision trains on without a word, or fails on without a reason: each is refused in one line."""

import pytest
import torch

from srzoo.data.mask_windows import MaskWindows
from srzoo.models.targets import check_targets

SIZE = (60, 80)
BOXES = [(5, 6, 30, 40), (50, 10, 80, 60)]


@pytest.fixture
def good(make_target):
    return make_target(SIZE, BOXES, [0, 2])


def check(target, good, size=SIZE):
    """As the second image of a batch, so that a message has to say which one it is."""
    check_targets([good, target], [SIZE, size], 3)


def box(*numbers):
    """The boxes with the second replaced."""
    return torch.tensor([BOXES[0], numbers], dtype=torch.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": box(float("nan"), 10, 80, 60)}, r"object 1, \[nan, 10, 80, 60\], is not finite"),
        ({"boxes": box(50, 10, float("inf"), 60)}, r"object 1, \[50, 10, inf, 60\], is not finite"),
        ({"boxes": box(80, 10, 50, 60)}, r"object 1, \[80, 10, 50, 60\].*x0 < x1"),
        ({"boxes": box(50, 10, 50, 60)}, r"object 1, \[50, 10, 50, 60\].*no width"),
        ({"boxes": box(50, 10, 50.01, 60)}, r"object 1, \[50, 10, 50.01, 60\].*below 0\.1 pixels"),
        ({"boxes": box(50, 10, 80.5, 60)}, r"object 1, \[50, 10, 80.5, 60\].*80x60"),
        ({"boxes": box(-1, 10, 80, 60)}, r"object 1, \[-1, 10, 80, 60\].*80x60"),
        ({"boxes": torch.tensor(BOXES) / torch.tensor([80, 60, 80, 60])}, r"0 to 1, as \[0\.0625, 0\.1, .*pixels"),
        ({"boxes": torch.tensor(BOXES)}, r"boxes of torch\.int64"),
        ({"boxes": torch.zeros(2, 5)}, r"boxes of \(2, 5\)"),
        ({"boxes": torch.zeros(0)}, r"boxes of \(0,\), labels of \(2,\) and 2 masks"),
        ({"labels": torch.tensor([0, 3])}, r"object 1 has label 3, expected 0 to 2.*without the background"),
        ({"labels": torch.tensor([-1, 0])}, r"object 0 has label -1, expected 0 to 2"),
        ({"labels": torch.tensor([0, 1], dtype=torch.int32)}, r"labels of torch\.int32, expected.* int64"),
        ({"labels": torch.tensor([0.0, 1.0])}, r"labels of torch\.float32"),
        ({"labels": torch.tensor([0])}, r"labels of \(1,\) and 2 masks"),
        ({"labels": torch.tensor([[0], [1]])}, r"labels of \(2, 1\)"),
        ({"masks": MaskWindows.of(torch.ones(1, *SIZE, dtype=torch.uint8))}, r"\(2,\) and 1 masks"),
        ({"masks": MaskWindows.of(torch.ones(2, 80, 60, dtype=torch.uint8))}, r"masks are 60x80, the image 80x60"),
        ({"masks": torch.ones(2, 1, *SIZE, dtype=torch.uint8)}, r"masks of \(2, 1, 60, 80\), expected.*\(n, H, W\)"),
        ({"masks": [[1]]}, r"masks of type list, expected a tensor \(n, H, W\)"),
        ({"labels": [0, 1]}, r"labels of type list, expected a tensor"),
        ({"boxes": BOXES}, r"boxes of type list, expected a tensor"),
        ({"crowds": box(1, float("nan"), 9, 9)}, r"crowd 1, \[1, nan, 9, 9\], is not finite"),
        ({"crowds": [[1, 2, 9, 9]]}, r"crowds of type list, expected a tensor"),
        ({"crowds": torch.zeros(4)}, r"crowds of \(4,\), expected a tensor of boxes \(c, 4\)"),
        ({"crowds": torch.tensor(4.0)}, r"crowds of \(\), expected"),
    ],
)
def test_refused(changes, message, good):
    with pytest.raises(ValueError, match=message) as info:
        check({**good, **changes}, good)
    assert "targets[1]" in str(info.value)
    assert "\n" not in str(info.value)


def test_crowds_of_an_image_without_objects_are_checked(good, make_target):
    empty = make_target(SIZE, [])
    check_targets([{**empty, "crowds": torch.tensor([[1, 2, 9, 9]])}, empty], [SIZE, SIZE], 3)
    crowds = torch.tensor([[1.0, 2, 9, 9], [1, 2, float("inf"), 9]])
    with pytest.raises(ValueError, match=r"targets\[1\].*crowd 1, \[1, 2, inf, 9\]"):
        check_targets([empty, {**empty, "crowds": crowds}], [SIZE, SIZE], 3)


def test_a_target_that_is_no_dict(good):
    with pytest.raises(ValueError, match=r"targets\[1\] is of type list, expected a dict"):
        check([good], good)


@pytest.mark.parametrize("key", ["boxes", "labels", "masks"])
def test_missing_key(key, good):
    with pytest.raises(ValueError, match=rf"targets\[1\] has no '{key}'"):
        check({name: value for name, value in good.items() if name != key}, good)


@pytest.mark.parametrize(("targets", "found"), [(None, "none"), ([], "0"), (3, "int"), ({}, "dict")])
def test_number_of_targets(targets, found):
    with pytest.raises(ValueError, match=f"each of the 2 images, got {found}"):
        check_targets(targets, [SIZE, SIZE], 3)


@pytest.mark.parametrize("boxes", [torch.zeros(0, 4), torch.zeros(0)])
def test_images_without_objects_are_accepted(boxes, good):
    empty = {"boxes": boxes, "labels": torch.zeros(0, dtype=torch.int64), "masks": MaskWindows.empty(SIZE)}
    check(empty, good)


def test_boxes_at_the_border_are_accepted(good):
    check({**good, "boxes": box(0, 0, 80, 60)}, good)
    check({**good, "boxes": box(79.5, 59.5, 80, 60).bfloat16()}, good)


@pytest.mark.parametrize("size", [(8, 8), (64, 96)])
def test_a_single_pixel_in_the_corner_is_no_fraction(size, make_target, good):
    check(make_target(size, [(0, 0, 1, 1)]), good, size)
