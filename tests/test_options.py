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
    below: float = option("a number without a least value", 0.0, high=5)
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
def test_values_are_converted_to_their_types(key, value, wanted):
    found = getattr(run(**{key: value}), key)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "abc"}, "lr .*number.*'abc'"),
        ({"lr": True}, "lr .*number.*True"),
        ({"lr": -1}, r"lr .*\b0 or more.* -1\.0"),
        ({"lr": float("nan")}, r"lr .*\b0 or more.* nan"),
        ({"offset": float("inf")}, "offset .*finite.* inf"),
        ({"offset": [1]}, r"offset .*number.*\[1\]"),
        ({"below": 6}, r"below .*\b5 or less.* 6\.0"),
        ({"lr": 10**400}, rf"lr .*number.* 1{'0' * 119}\.\.\.$"),
        ({"steps": 0}, r"steps .*\b1 or more.* 0$"),
        ({"steps": 2.5}, r"steps .*whole number or null.* 2\.5"),
        ({"steps": True}, "steps .*whole number or null.* True"),
        ({"seed": 10}, "seed .* 0 to 9.* 10$"),
        ({"weights": 1}, "weights .*true, false or numbers.* 1$"),
        ({"weights": [1, -1]}, r"weights .*\b0 or more.* \(1\.0, -1\.0\)"),
        ({"weights": [1, "x"]}, "weights .*number.*'x'"),
        ({"reordered": 1}, "reordered .*numbers, true or false.* 1$"),
        ({"ohem": "none"}, "ohem .*two numbers or null.*'none'"),
        ({"ohem": [0.7]}, r"ohem .*two numbers or null.* \[0\.7\]"),
        ({"ohem": [0.7, "many"]}, "ohem .*whole number.*'many'"),
        ({"start": 3}, "start .*true, false or .* 3$"),
        ({"precision": "fp8"}, "precision .*auto, no.*'fp8'"),
        ({"precision": ["no"]}, r"precision .*auto, no.* \['no'\]"),
        ({"compile": "maybe"}, "compile .*true or false.*'maybe'"),
        ({"settings": "nodes"}, r"settings .*\{nodes: 32\}.*'nodes'"),
        ({"name": 3}, "name .* 3$"),
        ({"name": None}, "name .* None$"),
        ({"step": 3}, "'step'.*'steps'"),
        ({"bluur": 3}, r"'bluur'.*'block\.augment\.blur'"),
        ({"block": {"crop": 8, "scales": 3}}, r"'block\.scales'.*'block\.scale'"),
        ({"block": {"crop": 8, "qqq": 3}}, r"'block\.qqq'.* block\.crop, block\.scale, block\.augment\.blur$"),
        ({"lr.x": 3}, r"'lr\.x'.*'lr'"),
        ({1: 3}, " 1; .* name, lr,"),
        ({"made_of": 3}, "'made_of'.* name, lr,"),
        ({"block": 3}, "block .* 3$"),
        ({"block": None}, r"no block\.crop.* --block\.crop VALUE$"),
        ({"block": {"crop": 0}}, r"block\.crop .*\b1 or more.* 0$"),
        ({"block": {"crop": 8, "augment": {"blur": 2}}}, r"block\.augment\.blur .* 0 to 1.* 2\.0"),
        ({"block": {"crop": 8, "scale": [2, 1]}}, r"block\.scale .*low <= high.* \(2\.0, 1\.0\)"),
        ({"block.crop": 9}, r"block\.crop .*twice"),
    ],
)
def test_error_is_one_line_with_key_limit_and_value(values, message):
    with pytest.raises(ValueError, match=rf"^run\b.*{message}") as error:
        run(**values) if all(isinstance(key, str) for key in values) else read(Run, values, "run")
    assert "\n" not in str(error.value)


def test_values_must_be_a_mapping():
    with pytest.raises(ValueError, match=r"^f\.yaml: .* \['a'\]$"):
        read(Run, ["a"], "f.yaml")


def test_keys_not_given_have_their_defaults():
    found = read(Run, {"name": "x", "block": {"crop": 8.0, "augment": None}, "block.scale": [1, 1]})
    assert found == {"name": "x", "block.crop": 8, "block.scale": (1.0, 1.0)}
    built = build(Run, found, made_of="tests")
    assert (built.block, built.made_of) == (Block(crop=8, scale=(1, 1), augment=Augment(blur=0)), "tests")
    assert build(Block, found, block="block.") == built.block
    assert built.settings is not run().settings
    with pytest.raises(ValueError, match=r"^Run .* name.*--name VALUE$"):
        build(Run, {"block.crop": 8})


def test_dataclass_made_in_python_is_checked_too():
    assert Block(crop="8", scale=[1, 2]).scale == (1.0, 2.0)
    assert Block(crop=8, augment={"blur": "1"}).augment == Augment(blur=1)
    with pytest.raises(ValueError, match="^crop .*1 or more.* 0$"):
        Block(crop=0)
    with pytest.raises(ValueError, match=r"^augment\.blur .* 0 to 1.* 2\.0$"):
        Block(crop=8, augment={"blur": 2})
    with pytest.raises(ValueError, match=r"^augment .* 2$"):
        Block(crop=8, augment=2)


def test_overrides_win_and_dicts_are_joined():
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


def test_old_names_are_replaced_by_new_ones():
    moved = {"crop": "block.crop", "scale": "block.scale"}
    values, said = renamed({"name": "x", "crop": 8, "scale": [1, 1]}, moved)
    assert said == ["crop is now block.crop", "scale is now block.scale"]
    assert read(Run, values) == {"name": "x", "block.crop": 8, "block.scale": (1.0, 1.0)}
    with pytest.raises(ValueError, match=r"^f\.yaml: block\.crop .*twice"):
        read(Run, renamed({"crop": 8, "block": {"crop": 9}}, moved)[0], "f.yaml")
    assert renamed({"name": "x"}, moved) == ({"name": "x"}, [])


def test_help_lists_the_keys():
    assert Block.__doc__.startswith("Keys of the crops.\n\nAttributes:\n    crop: side of the crop, pixels.\n")
    assert full_names(Block) == ["crop", "scale", "augment.blur"]
