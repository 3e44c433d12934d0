import re

import pytest

from srzoo.data.diagnosis import _CASES, _Ids, diagnose
from srzoo.data.masks import IdMap


def judged(values, num_classes=None, id_map=None, colours=(0, 9), palettes=None):
    files = {value: f"m{value}.png" for value in values}
    return diagnose(files, id_map or IdMap.identity(num_classes or 254), num_classes, colours, palettes or {})


RIGHT = [
    ([0, 1, 2], None, 3),
    ([0, 1, 2, 255], 3, 3),
    ([0, 3], 5, 5),  # classes that never appear
    ([1, 2], 3, 3),
    (range(150), None, 150),
    (range(254), None, 254),
    ([0, 2, 4], None, 5),
    ([], 3, 3),
]


@pytest.mark.parametrize(("values", "num_classes", "count"), RIGHT)
def test_ids_that_are_right(values, num_classes, count):
    found = judged(values, num_classes)
    assert (found.errors, found.id_map, found.num_classes) == ([], None, count)


WRONG = [
    ([0, 255], None, "0 and 255 alone", {0: 0, 255: 1}, 2),
    ([0, 255], 2, "0 and 255 alone", {0: 0, 255: 1}, 2),
    ([255], 3, "void.*255", None, 3),
    ([0], None, "0 alone", None, None),
    ([1, 2, 3], None, "at 1: 1, 2, 3", {1: 0, 2: 1, 3: 2, 255: 255}, 3),
    ([1, 3, 255], 3, "at 1: 1, 3", {1: 0, 2: 1, 3: 2, 255: 255}, 3),
    ([0, 1, 2, 3], 3, "up to 3 for 3 classes.*4", {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}, 3),
    ([0, 1, 7, 9], 3, r"7, 9 beyond the 3 classes \(0..2\).*m7.png", None, 3),
    ([0, 127, 254], None, "gray.*: 0, 127, 254", {0: 0, 127: 1, 254: 2, 255: 255}, 3),
    ([0, 85, 170, 255], None, "shades of gray", {0: 0, 85: 1, 170: 2, 255: 3}, 4),
    ([0, 60, 120, 255], 3, "shades of gray", {0: 0, 60: 1, 120: 2, 255: 255}, 3),
    ([0, 60, 120, 255], 4, "shades of gray", {0: 0, 60: 1, 120: 2, 255: 3}, 4),
    ([128], 2, "128 alone", None, None),
    ([1, 255], None, "1 alone", None, None),
    (range(256), None, "255 .*from 0 to 254", None, None),
    ([0, 1, 254], None, "up to 254, .*253", {0: 0, 1: 1, 254: 2, 255: 255}, 3),
    ([0, 1, 9000], 3, "up to 9000, .*253", {0: 0, 1: 1, 9000: 2, 255: 255}, 3),
    ([0, 1, 9000], 2, r"9000 beyond the 2 classes", None, 2),
    ([0, *range(26000, 26100)], None, "101 .*from 0 to 26099", None, None),
    ([-1, 0, 1], None, "3 .*from -1 to 1", None, None),
    ([0, 1 << 20], 2, "2 .*from 0 to 1048576", None, None),
    (range(0, 256, 2), 2, "128 .*from 0 to 254", None, None),
    ([0, 1, 2, 3, 252, 253, 254, 255], None, "near 0 and near 255", {v: int(v > 127) for v in range(256)}, 2),
    ([0, 9, 230, 254, 255], 2, "near 0 and near 255", {v: int(v > 127) for v in range(256)}, 2),
]


def test_every_case_occurs_here():
    seen = (_Ids(list(values), {}, num_classes) for values, num_classes, *_ in [*RIGHT[:-1], *WRONG])
    assert {next(case.name for case in _CASES if case.when(ids)) for ids in seen} == {case.name for case in _CASES}


@pytest.mark.parametrize(("values", "num_classes", "message", "id_map", "count"), WRONG)
def test_values_that_are_not_ids(values, num_classes, message, id_map, count):
    found = judged(values, num_classes)
    assert len(found.errors) == 1
    assert re.search(message, found.errors[0])
    assert (found.id_map, found.num_classes) == (id_map, count)


def test_colours():
    found = judged([0xFF0000, 0x000000, 0x0000FF], colours=(9, 9))
    (error,) = found.errors
    assert re.search(r"RGB.*: #000000, #0000ff, #ff0000 \(m16711680.png\)", error)
    assert found.id_map == {(0, 0, 0): 0, (0, 0, 255): 1, (255, 0, 0): 2}
    assert "5 of 9 masks" in judged([1, 2], colours=(5, 9)).errors[0]
    assert "200 different colours" in judged(range(200), colours=(9, 9)).errors[0]


def test_palettes_that_change_from_file_to_file():
    found = judged([0, 1], palettes={0: {0x000000}, 1: {0xFF0000, 0x00FF00}})
    assert "value 1 is #00ff00, #ff0000" in found.errors[0]
    assert found.id_map == {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2}
    assert judged([0, 1], palettes={0: {0x000000}, 1: {0xFF0000}}).errors == []


def test_a_given_map_is_not_questioned():
    given = IdMap({0: 255, 1: 0, 2: 1})
    assert judged([0, 1, 2], id_map=given).num_classes == 2
    assert judged([0], id_map=IdMap({0: 0, 255: 255}), num_classes=2).errors == []
    (error,) = judged([0, 3, 4], id_map=given).errors
    assert re.search(r"values .*: 3, 4 \(first in m3.png\)", error)
    (error,) = judged([0x010203], id_map=given, colours=(4, 9)).errors
    assert re.search(r"4 of 9 masks .* 3 values from 0 to 2 \(m66051.png\)", error)
    (error,) = judged([0x010203], id_map=IdMap({(0, 0, 0): 0}), colours=(9, 9)).errors
    assert re.search(r"colours .*: #010203 \(first in m66051.png\)", error)


def together(*sets, num_classes=None, id_map=None):
    values = sorted({value for each in sets for value in each})
    files = {frozenset(each): f"f{i}.png" for i, each in enumerate(sets)}
    return diagnose(
        dict.fromkeys(values, "m.png"), id_map or IdMap.identity(254), num_classes, (0, len(sets)), {}, files
    )


@pytest.mark.parametrize("num_classes", [None, 2])
def test_masks_of_two_encodings(num_classes):
    found = together({0, 1}, {0}, {0, 255}, {255}, num_classes=num_classes)
    assert re.search(r"two encodings .* 0, 1, others 0, 255, first f2.png.*'{0: 0, 1: 1, 255: 255}'", found.errors[0])
    assert (found.id_map, found.num_classes) == ({0: 0, 1: 1, 255: 1}, 2)


def test_masks_of_two_encodings_of_several_classes():
    found = together({0, 1, 2}, {0, 3}, {0, 85, 170}, {0, 255})
    assert found.id_map == {0: 0, 1: 1, 2: 2, 3: 3, 85: 1, 170: 2, 255: 3}
    assert "two encodings" in together({0, 1}, {0, 2}, {0, 3}, {0, 127, 255}).errors[0]


def test_void_is_no_second_encoding():
    for sets in (
        [{0, 1}, {0, 255}, {0, 1, 255}],  # beside an object
        [{0, 1}, {255}],  # all of a mask
        [{0, 1, 2}, {0, 255}],
        [{0, 1}, {0, 2}, {0, 3}],
        [{0, 1}, {0, 200}],
    ):
        assert not any("two encodings" in error for error in together(*sets).errors)
    said = IdMap({0: 0, 1: 1, 255: 255})
    assert together({0, 1}, {0, 255}, id_map=said).errors == []
