from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional, Union

import numpy as np
import pytest

from srzoo.options import build, check, documented, full_names, merged, option, read, renamed


@documented
@dataclass(kw_only=True)
class Augment:
    """Keys of the augmentation."""

    blur: float = option("probability of a blur", 0.0, low=0, high=1)

    def __post_init__(self):
        check(self)


@documented
@dataclass(kw_only=True)
class Block:
    """Keys of the crops."""

    crop: int = option("side of the crop, pixels", low=1)
    scale: tuple[float, float] = option("range of the resize factor", (0.5, 2.0))
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self):
        check(self)
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be low <= high, got {self.scale}")


@documented
@dataclass(kw_only=True)
class Run:
    """A run."""

    name: str = option("what it is called")
    lr: float = option("learning rate", 0.1, low=0)
    steps: int | None = option("length", None, low=1)
    optional: Optional[int] = option("as the first annotations wrote it", None)  # noqa: UP045
    weights: bool | tuple[float, ...] = option("of the classes", True, low=0, wanted="true, false or numbers")
    reordered: Union[tuple[float, ...], bool] = option("the same", True)  # noqa: UP007
    ohem: tuple[float, int] | None = option("threshold and count", None, low=0)
    start: bool | str = option("true, false or a file", True)
    precision: Literal["auto", "no"] = option("of the products", "auto")
    compile: bool = option("compile it", False)
    settings: dict = option("of the model", dict)
    seed: int = option("of all", 0, low=0, high=9)
    offset: float = option("any finite number", 0.0)
    below: float = option("a number that has a greatest value alone", 0.0, high=5)
    block: Block
    made_of: Any = None  # no option

    def __post_init__(self):
        check(self)


def run(**values) -> Run:
    return build(Run, read(Run, {"name": "x", "block": {"crop": 8}, **values}, "run"), "run")


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("lr", "1e-3", 1e-3),
        ("lr", np.float32(0.5), 0.5),
        ("steps", 8.0, 8),
        ("steps", "1e2", 100),
        ("steps", np.int64(3), 3),
        ("steps", None, None),
        ("optional", 3, 3),
        ("weights", False, False),
        ("weights", [1, "2"], (1.0, 2.0)),
        ("reordered", [1], (1.0,)),
        ("reordered", False, False),
        ("ohem", [0.7, 1e5], (0.7, 100_000)),
        ("ohem", None, None),
        ("start", "file.pth", "file.pth"),
        ("start", Path("file.pth"), "file.pth"),
        ("start", False, False),
        ("precision", False, "no"),
        ("settings", {"nodes": 32}, {"nodes": 32}),
        ("name", "3", "3"),
    ],
)
def test_values_as_people_write_them(key, value, wanted):
    found = getattr(run(**{key: value}), key)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "abc"}, "run: lr must be a number, got 'abc'"),
        ({"lr": True}, "run: lr must be a number, got True"),
        ({"lr": -1}, "run: lr must be 0 or more, got -1.0"),
        ({"lr": float("nan")}, "run: lr must be 0 or more, got nan"),
        ({"offset": float("inf")}, "run: offset must be finite, got inf"),
        ({"offset": [1]}, "run: offset must be a number, got [1]"),
        ({"below": 6}, "run: below must be 5 or less, got 6.0"),
        ({"lr": 10**400}, f"run: lr must be a number, got {'1' + '0' * 119}..."),
        ({"steps": 0}, "run: steps must be 1 or more, got 0"),
        ({"steps": 2.5}, "run: steps must be a whole number or null, got 2.5"),
        ({"steps": True}, "run: steps must be a whole number or null, got True"),
        ({"seed": 10}, "run: seed must be from 0 to 9, got 10"),
        ({"weights": 1}, "run: weights must be true, false or numbers, got 1"),
        ({"weights": [1, -1]}, "run: weights must be 0 or more, got (1.0, -1.0)"),
        ({"weights": [1, "x"]}, "run: weights must be a number, got 'x'"),
        ({"reordered": 1}, "run: reordered must be numbers, true or false, got 1"),
        ({"ohem": "none"}, "run: ohem must be two numbers or null, got 'none'"),
        ({"ohem": [0.7]}, "run: ohem must be two numbers or null, got [0.7]"),
        ({"ohem": [0.7, "many"]}, "run: ohem must be a whole number, got 'many'"),
        ({"start": 3}, "run: start must be true, false or a text, got 3"),
        ({"precision": "fp8"}, "run: precision must be one of auto, no, got 'fp8'"),
        ({"precision": ["no"]}, "run: precision must be one of auto, no, got ['no']"),
        ({"compile": "maybe"}, "run: compile must be true or false, got 'maybe'"),
        ({"settings": "nodes"}, "run: settings must be keys and values, such as {nodes: 32}, got 'nodes'"),
        ({"name": 3}, "run: name must be a text, got 3"),
        ({"name": None}, "run: name must be a text, got None"),
        ({"step": 3}, "run: unknown key 'step'; did you mean 'steps'?"),
        ({"bluur": 3}, "run: unknown key 'bluur'; did you mean 'block.augment.blur'?"),
        ({"block": {"crop": 8, "scales": 3}}, "run: unknown key 'block.scales'; did you mean 'block.scale'?"),
        (
            {"block": {"crop": 8, "qqq": 3}},
            "run: unknown key 'block.qqq'; the keys are block.crop, block.scale, block.aug",
        ),
        ({"lr.x": 3}, "run: unknown key 'lr.x'; did you mean 'lr'?"),
        ({1: 3}, "run: unknown key 1; the keys are name, lr,"),
        ({"made_of": 3}, "run: unknown key 'made_of'; the keys are"),
        ({"block": 3}, "run: block must be keys and values, got 3"),
        ({"block": None}, "run has no block.crop: write it into the file, or pass --block.crop VALUE"),
        ({"block": {"crop": 0}}, "run: block.crop must be 1 or more, got 0"),
        ({"block": {"crop": 8, "augment": {"blur": 2}}}, "run: block.augment.blur must be from 0 to 1, got 2.0"),
        ({"block": {"crop": 8, "scale": [2, 1]}}, "run: block.scale must be low <= high, got (2.0, 1.0)"),
        ({"block.crop": 9}, "run: block.crop is given twice; leave one out"),
    ],
)
def test_an_error_is_one_line_with_key_value_and_what_is_wanted(values, message):
    with pytest.raises(ValueError) as error:
        run(**values) if all(isinstance(key, str) for key in values) else read(Run, values, "run")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_what_is_no_mapping():
    with pytest.raises(ValueError, match=r"^f.yaml: this must be keys and values, got \['a'\]$"):
        read(Run, ["a"], "f.yaml")


def test_only_what_was_given_is_read_and_the_rest_has_its_default():
    found = read(Run, {"name": "x", "block": {"crop": 8.0, "augment": None}, "block.scale": [1, 1]})
    assert found == {"name": "x", "block.crop": 8, "block.scale": (1.0, 1.0)}
    built = build(Run, found, made_of="tests")
    assert (built.block, built.made_of) == (Block(crop=8, scale=(1, 1), augment=Augment(blur=0)), "tests")
    assert build(Block, found, block="block.") == built.block
    assert built.settings is not run().settings
    with pytest.raises(ValueError, match=r"^Run has no name: write it into the file, or pass --name VALUE$"):
        build(Run, {"block.crop": 8})


def test_a_dataclass_made_in_python_is_checked_too():
    assert Block(crop="8", scale=[1, 2]).scale == (1.0, 2.0)
    assert Block(crop=8, augment={"blur": "1"}).augment == Augment(blur=1)
    with pytest.raises(ValueError, match="^crop must be 1 or more, got 0$"):
        Block(crop=0)
    with pytest.raises(ValueError, match=r"^augment.blur must be from 0 to 1, got 2.0$"):
        Block(crop=8, augment={"blur": 2})
    with pytest.raises(ValueError, match=r"^augment must be keys and values, got 2$"):
        Block(crop=8, augment=2)


def test_what_was_said_later_wins_and_dicts_are_joined():
    found = read(Run, {"lr": 1, "settings": {"a": 1, "b": 1}, "block": {"crop": 8}})
    later = read(Run, {"steps": None, "settings": {"b": 2}, "block": {"scale": [1, 1]}})
    assert merged(found, later) == {
        "lr": 1.0,
        "settings": {"a": 1, "b": 2},
        "steps": None,
        "block.crop": 8,
        "block.scale": (1.0, 1.0),
    }
    assert merged({}, later) == later


def test_old_names_are_read_under_the_new_ones():
    moved = {"crop": "block.crop", "scale": "block.scale"}
    values, said = renamed({"name": "x", "crop": 8, "scale": [1, 1]}, moved)
    assert said == ["crop is now block.crop", "scale is now block.scale"]
    assert read(Run, values) == {"name": "x", "block.crop": 8, "block.scale": (1.0, 1.0)}
    with pytest.raises(ValueError, match=r"f.yaml: block.crop is given twice"):
        read(Run, renamed({"crop": 8, "block": {"crop": 9}}, moved)[0], "f.yaml")
    assert renamed({"name": "x"}, moved) == ({"name": "x"}, [])


def test_help_lists_the_keys():
    assert Block.__doc__.startswith("Keys of the crops.\n\nAttributes:\n    crop: side of the crop, pixels.\n")
    assert full_names(Block) == ["crop", "scale", "augment.blur"]
