import re

import pytest

from srzoo.data.holdout import hold_out


def test_folders_are_held_out_whole():
    names = [f"{city}/{i}.png" for city in ("aachen", "bonn", "celle", "duisburg", "erfurt") for i in range(4)]
    held, how = hold_out(names)
    assert len(held) == 4
    assert len({names[i].split("/")[0] for i in held}) == 1
    assert "folders" in how


def test_folders_of_one_name_are_told_apart():
    names = [f"set/{i}/images/x.png" for i in range(10)]
    assert re.fullmatch(r"by folders \(\d/images, \d/images\)", hold_out(names).how)


def test_names_up_to_their_number_are_groups():
    names = [f"{drive}_{i:03}.png" for drive in ("d1a", "d2b", "d3c", "d4d") for i in range(5)]
    held, how = hold_out(names)
    assert len(held) == 5
    assert len({names[i][:3] for i in held}) == 1
    assert "names" in how


def test_the_end_of_a_sequence_is_held_out():
    names = [f"frame{i}.png" for i in range(10)]
    assert hold_out(names).indices == [8, 9]
    assert hold_out(names[::-1], 0.3).indices == [0, 1, 2]
    assert "frame8" in hold_out(names).how


def test_copies_of_one_picture_stay_together():
    names = [f"img_{i}_jpg.rf.{copy:032x}.jpg" for i in range(5) for copy in range(3)]
    assert hold_out(names, 0.1).indices == [12, 13, 14]


def test_every_fifth_as_in_version_0_1():
    assert hold_out([f"f{i}" for i in range(7)], "fifth").indices == [0, 5]


def test_the_choice_depends_on_the_names_alone():
    names = [f"{name}.png" for name in "qwertzuiopasdfghjklyxcvbnm"]
    held = {names[i] for i in hold_out(names).indices}
    assert len(held) == 5
    assert {names[::-1][i] for i in hold_out(names[::-1]).indices} == held


def test_names_of_folders_may_be_no_utf_8():
    names = [f"{folder}/{i}.png" for folder in ("a\udce9", "b\udce9", "c\udce9", "d") for i in range(4)]
    assert len(hold_out(names).indices) == 4


@pytest.mark.parametrize("rule", [0, 1, 1.5, "half", True])
def test_rules_that_are_none(rule):
    with pytest.raises(ValueError, match="holdout="):
        hold_out(["a", "b"], rule)


def test_one_image():
    with pytest.raises(ValueError, match="1 image"):
        hold_out(["a"])
