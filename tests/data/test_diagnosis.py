import re

import pytest

from srzoo.data.diagnosis import diagnose
from srzoo.data.masks import IdMap


def judged(values, num_classes=None, id_map=None, colours=(0, 9), palettes=None):
    files = {value: f"m{value}.png" for value in values}
    return diagnose(files, id_map or IdMap.identity(num_classes or 254), num_classes, colours, palettes or {})


@pytest.mark.parametrize(
    ("values", "num_classes", "count"),
    [
        ([0, 1, 2], None, 3),
        ([0, 1, 2, 255], 3, 3),
        ([0, 3], 5, 5),  # classes that never appear
        ([1, 2], 3, 3),
        (range(150), None, 150),
        (range(254), None, 254),
        ([0, 2, 4], None, 5),
        ([], 3, 3),
    ],
)
def test_ids_that_are_right(values, num_classes, count):
    found = judged(values, num_classes)
    assert (found.errors, found.id_map, found.num_classes) == ([], None, count)


@pytest.mark.parametrize(
    ("values", "num_classes", "message", "id_map", "count"),
    [
        ([0, 255], None, "hold 0 and 255 alone: drawn in black and white", {0: 0, 255: 1}, 2),
        ([0, 255], 2, "hold 0 and 255 alone", {0: 0, 255: 1}, 2),
        ([255], 3, "all masks are void", None, 3),
        ([0], None, "hold 0 alone, so there is nothing to learn", None, None),
        ([1, 2, 3], None, "start at 1: 1, 2, 3", {1: 0, 2: 1, 3: 2, 255: 255}, 3),
        ([1, 3, 255], 3, "start at 1: 1, 3", {1: 0, 2: 1, 3: 2, 255: 255}, 3),
        ([0, 1, 2, 3], 3, "ids up to 3 for 3 classes: is 0 void", {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}, 3),
        ([0, 1, 7, 9], 3, r"ids 7, 9 beyond the 3 classes \(0..2\), first in m7.png", None, 3),
        ([0, 127, 254], None, "shades of gray, not ids: 0, 127, 254", {0: 0, 127: 1, 254: 2, 255: 255}, 3),
        ([0, 85, 170, 255], None, "shades of gray", {0: 0, 85: 1, 170: 2, 255: 3}, 4),
        ([0, 60, 120, 255], 3, "shades of gray", {0: 0, 60: 1, 120: 2, 255: 255}, 3),
        ([0, 60, 120, 255], 4, "shades of gray", {0: 0, 60: 1, 120: 2, 255: 3}, 4),
        ([128], 2, "hold 128 alone, so there is nothing to learn", None, None),
        ([1, 255], None, "hold 1 alone", None, None),
        (range(256), None, "255 different values from 0 to 254: .* resized with interpolation", None, None),
        ([0, 1, 254], None, "ids up to 254, where 253 is the highest", {0: 0, 1: 1, 254: 2, 255: 255}, 3),
        ([0, 1, 9000], 3, "ids up to 9000, where 253", {0: 0, 1: 1, 9000: 2, 255: 255}, 3),
        ([0, 1, 9000], 2, r"ids 9000 beyond the 2 classes", None, 2),
        ([0, *range(26000, 26100)], None, "101 different values from 0 to 26099: instance ids", None, None),
        ([-1, 0, 1], None, "3 different values from -1 to 1: instance ids", None, None),
        ([0, 1 << 20], 2, "2 different values from 0 to 1048576", None, None),
        (range(0, 256, 2), 2, "128 different values from 0 to 254: .* resized with interpolation", None, None),
    ],
)
def test_values_that_are_no_ids(values, num_classes, message, id_map, count):
    found = judged(values, num_classes)
    assert len(found.errors) == 1
    assert re.search(message, found.errors[0])
    assert (found.id_map, found.num_classes) == (id_map, count)


def test_colours():
    found = judged([0xFF0000, 0x000000, 0x0000FF], colours=(9, 9))
    assert found.errors == ["the masks are RGB pictures, not ids: #000000, #0000ff, #ff0000 (m16711680.png)"]
    assert found.id_map == {(0, 0, 0): 0, (0, 0, 255): 1, (255, 0, 0): 2}
    assert "5 of 9 masks are RGB, the others store ids" in judged([1, 2], colours=(5, 9)).errors[0]
    assert "200 different colours, so no mask of classes" in judged(range(200), colours=(9, 9)).errors[0]


def test_palettes_that_change_from_file_to_file():
    found = judged([0, 1], palettes={0: {0x000000}, 1: {0xFF0000, 0x00FF00}})
    assert "palettes differ: value 1 is #00ff00, #ff0000" in found.errors[0]
    assert found.id_map == {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2}
    assert judged([0, 1], palettes={0: {0x000000}, 1: {0xFF0000}}).errors == []


def test_a_map_that_was_said_is_taken_at_its_word():
    said = IdMap({0: 255, 1: 0, 2: 1})
    assert judged([0, 1, 2], id_map=said).num_classes == 2
    assert judged([0], id_map=IdMap({0: 0, 255: 255}), num_classes=2).errors == []
    assert judged([0, 3, 4], id_map=said).errors == ["values that are not in the id map: 3, 4 (first in m3.png)"]
    pictures = judged([0x010203], id_map=said, colours=(4, 9))
    assert pictures.errors == ["4 of 9 masks are RGB pictures, the id map has 3 values from 0 to 2 (m66051.png)"]
    in_colours = judged([0x010203], id_map=IdMap({(0, 0, 0): 0}), colours=(9, 9))
    assert in_colours.errors == ["colours that are not in the id map: #010203 (first in m66051.png)"]
