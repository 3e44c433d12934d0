import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srzoo.untrusted.values import Value, bounded, parse_json

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), each, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, print_blob=True)
@given(ANYTHING)
def test_each_kind_is_read_or_refused_in_one_line(found):
    value = Value(found, "m.bin", "a.b")
    for read in (
        value.text,
        value.flag,
        value.number,
        value.items,
        value.keys,
        value.plain,
        lambda: value.whole(0, 9),
        lambda: value.one_of("a", "b"),
        lambda: value["name"],
    ):
        try:
            read()
        except ValueError as error:
            assert str(error).startswith("m.bin: a.b") and "\n" not in str(error) and len(str(error)) < 600


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda v: v["a"].whole(1, 8), "m: a must be a whole number from 1 to 8, got 9"),
        (lambda v: v["a"].text(), "m: a must be a text of 1 to 256 characters.*, got 9"),
        (lambda v: v["b"].items(2, 2), r"m: b must be a list of 2 values, got \[1\]"),
        (lambda v: v["b"].items()[0].flag(), r"m: b\[0\] must be true or false, got 1"),
        (lambda v: v["c"]["d"].number(0, 1), r"m: c\.d must be a number from 0 to 1, got inf"),
        (lambda v: v["c"]["x"], "m: c lacks the key 'x'"),
        (lambda v: v["e"].text(), r"m: e must be .*control characters, got 'a\\x1b\[31m'"),
    ],
)
def test_an_error_names_the_file_the_key_the_value_and_the_limit(read, message):
    values = parse_json('{"a": 9, "b": [1], "c": {"d": 1e999}, "e": "a\\u001b[31m"}', "m")
    with pytest.raises(ValueError, match=message):
        read(values)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 40 + "1" + "}" * 40, "[" + "1," * 10 + "1", "9" * 5000, "", '"' + "a" * 200]
)
def test_deep_long_and_broken_json(text):
    with pytest.raises(ValueError, match="^m: ") as raised:
        parse_json(text, "m", longest=150_000)
    assert len(str(raised.value)) < 300
    with pytest.raises(ValueError, match="^m: 10 characters, expected at most 9"):
        parse_json(" " * 10, "m", longest=9)


def test_values_that_stand_for_many():
    bomb: list = ["x"]
    for _ in range(24):
        bomb = [bomb, bomb]
    itself: list = []
    itself.append(itself)
    for found in (bomb, itself):
        with pytest.raises(ValueError, match="^m: (more than|nested)"):
            bounded(found, "m", parts=10_000)
        with pytest.raises(ValueError, match="m: k must be true or false"):
            Value(found, "m", "k").flag()


def test_names_in_any_script_are_text():
    for name in ("road", "дорога", "道路", "sidewalk, pavement", "क्\u200dष", "👩\u200d🚒", "traffic light"):
        assert Value(name, "m").text() == name
    for name in ("", "a\nb", "\x1b]0;t\x07", "\u202egnp", "\ud800", "\x9b", "a" * 257):
        with pytest.raises(ValueError, match="control characters"):
            Value(name, "m").text()
    assert not math.isnan(Value(0.5, "m").number())
