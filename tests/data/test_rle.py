import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from srzoo.data.rle import _uncompressed, encode, read_segmentation

SIZE = (7, 11)
SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]
INNER = [3, 2, 5, 2, 5, 4, 3, 4]


def drawn(segmentation):
    rle, left_out = read_segmentation(segmentation, SIZE)
    assert left_out == []
    return pycoco.decode(rle)


def a_ring() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[1:5, 2:6], mask[2:4, 3:5] = 1, 0
    return mask


def test_polygons_of_several_parts_and_overlapping_ones():
    mask = drawn([SQUARE, [8, 0, 11, 0, 11, 2, 8, 2], INNER])
    expected = np.zeros(SIZE, int)
    expected[1:5, 2:6] = expected[0:2, 8:11] = 1
    assert (mask == expected).all()


def test_a_hole_survives_both_kinds_of_run_lengths():
    rle = encode(a_ring())
    text = {"size": [*SIZE], "counts": rle["counts"].decode()}
    counts = {"size": [*SIZE], "counts": _uncompressed(rle["counts"])}
    for each in (text, counts, rle):
        assert (drawn(each) == a_ring()).all()
        assert read_segmentation(each, SIZE)[0] == rle


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = encode(mask)
    counts = _uncompressed(rle["counts"])
    assert sum(counts) == height * width
    assert pycoco.frPyObjects({"size": [height, width], "counts": counts}, height, width) == rle


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.3, 0.7, 1]))
def test_a_mask_within_a_window_is_encoded_as_pycocotools_does(height, width, seed, share):
    generator = np.random.default_rng(seed)
    (x0, x1), (y0, y1) = (np.sort(generator.integers(0, side + 1, 2)).tolist() for side in (width, height))
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[y0:y1, x0:x1] = generator.random((y1 - y0, x1 - x0)) < share
    assert encode(mask[y0:y1, x0:x1] > 0, (x0, y0), mask.shape) == pycoco.encode(mask)


def test_long_runs():
    mask = np.zeros((3000, 4000), bool)
    mask[1000:1003, 2000:2002] = True
    assert sum(_uncompressed(encode(mask)["counts"])) == mask.size


@given(st.binary(max_size=12))
def test_any_text_is_run_lengths_or_refused(text):
    """pycocotools writes beyond the mask if their sum is too large."""
    try:
        rle, _ = read_segmentation({"size": [*SIZE], "counts": text}, SIZE)
    except ValueError as error:
        assert "run lengths" in str(error)
    else:
        assert rle is None or pycoco.area(rle)


def test_polygons_of_too_few_numbers_are_left_out():
    rle, left_out = read_segmentation([[1, 2, 3, 4], SQUARE, []], SIZE)
    assert (pycoco.decode(rle) == drawn([SQUARE])).all()
    assert [line.split(";")[0] for line in left_out] == [
        "has a polygon of 4 numbers, expected 6 or more",
        "has a polygon of 0 numbers, expected 6 or more",
    ]
    assert read_segmentation([[1, 2, 3, 4]], SIZE)[0] is None


@pytest.mark.parametrize(
    "segmentation",
    [[[3, 3, 3, 3, 3, 3]], [[20, 1, 21, 1, 21, 5]], {"size": [*SIZE], "counts": [77]}],
)
def test_a_mask_without_pixels_is_none(segmentation):
    assert read_segmentation(segmentation, SIZE) == (None, [])


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "no segmentation.*or a bbox .*above 0"),
        ([], "no segmentation.*or a bbox .*above 0"),
        ("polygon", "str"),
        (3, "int"),
        (SQUARE, "list of numbers"),
        ([SQUARE, None], "None"),
        ([["1", 2, 3, 4, 5, 6]], "'1'"),
        ([[True, 2, 3, 4, 5, 6]], "True"),
        ([[*SQUARE, 3]], "9 numbers.* x and y"),
        ([[float("nan"), *SQUARE[1:]]], "x nan .*finite"),
        ([[2, float("inf"), *SQUARE[2:]]], "y inf .*finite"),
        ([[10**400, *SQUARE[1:]]], "x 1000.*finite"),
        ([[2, 22, *SQUARE[2:]]], "y 22 .*11x7"),
        ([[0.1, 0.2, 0.6, 0.2, 0.6, 0.9]], "from 0 to 1.*11x7"),
        ({"size": [11, 7], "counts": [77]}, r"\[11, 7\].*\[7, 11\]; .*swapped"),
        ({"size": [7, 12], "counts": [84]}, r"\[7, 12\].*\[7, 11\]$"),
        ({"counts": [77]}, r"None.*\[7, 11\]"),
        ({"size": [7, 11]}, "cannot be read: None"),
        ({"size": [7, 11], "counts": [70, 8]}, "78 pixels.* 77"),
        ({"size": [7, 11], "counts": [70, -7, 14]}, "cannot be read"),
        ({"size": [7, 11], "counts": [70, 7.0]}, "cannot be read"),
        ({"size": [7, 11], "counts": ""}, "cannot be read"),
        ({"size": [7, 11], "counts": "0o"}, "cannot be read"),
        ({"size": [7, 11], "counts": "ü"}, "cannot be read"),
    ],
)
def test_what_is_no_mask(segmentation, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_segmentation(segmentation, SIZE)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_without_pycocotools(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(ImportError, match=r"pip install pycocotools"):
        read_segmentation([SQUARE], SIZE)
