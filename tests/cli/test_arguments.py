import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from srzoo.cli.arguments import add_options, given_options, path_argument
from srzoo.options import option, read

MOVED = {"crop": "block.crop", "scale": "block.scale"}


@dataclass(kw_only=True)
class Block:
    """Keys of the crops.

    More of them.
    """

    crop: int = option("side of the crop, 100 % of it", 8)
    scale: tuple[float, float] = option("range of the resize factor", (0.5, 2.0))


@dataclass(kw_only=True)
class Run:
    """A run."""

    name: str = option("what it is called", "x")
    teacher: str | None = option("another", None)
    lr: float = option("learning rate", 0.1)
    steps: int | None = option("length", None)
    scales: tuple[float, ...] = option("of the input", (1.0,))
    weights: bool | tuple[float, ...] = option("of the classes", True)
    start: bool | str = option("true, false or a file", True)
    precision: Literal["auto", "no"] = option("of the products", "auto")
    compile: bool = option("compile it", False)
    settings: dict = option("of the model", dict)
    block: Block = field(default_factory=Block)


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(prog="p", exit_on_error=False)
    parser.add_argument("--out")
    add_options(parser, Run, "keys of a run", MOVED)
    return parser


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", {}),
        ("--out x", {}),
        ("--name no", {"name": "no"}),
        ("--name 3", {"name": "3"}),
        ("--teacher null", {"teacher": None}),
        ("--teacher no", {"teacher": "no"}),
        ("--lr 1e-3", {"lr": 1e-3}),
        ("--lr -1", {"lr": -1.0}),
        ("--steps 1e1", {"steps": 10}),
        ("--steps null", {"steps": None}),
        ("--scales 1", {"scales": (1.0,)}),
        ("--scales 0.5 1", {"scales": (0.5, 1.0)}),
        ("--scales [0.5,1]", {"scales": (0.5, 1.0)}),
        ("--weights true", {"weights": True}),
        ("--weights 1 2", {"weights": (1.0, 2.0)}),
        ("--weights [1]", {"weights": (1.0,)}),
        ("--start false", {"start": False}),
        ("--start file.pth", {"start": "file.pth"}),
        ("--precision no", {"precision": "no"}),
        ("--compile", {"compile": True}),
        ("--compile false", {"compile": False}),
        ("--block.crop 9", {"block.crop": 9}),
        ("--block.scale 0.5 2.0", {"block.scale": (0.5, 2.0)}),
        ("--block.scale [0.5,2.0]", {"block.scale": (0.5, 2.0)}),
    ],
)
def test_options_are_read_like_files(parser, words, found):
    assert read(Run, given_options(parser.parse_args(words.split()), Run)) == found


@pytest.mark.parametrize("value", [2, 2.0, "2", [2]])
def test_one_value_is_a_list_of_one(value):
    assert read(Run, {"scales": value}) == {"scales": (2.0,)}


def test_dict_is_one_word(parser):
    options = parser.parse_args(["--settings", "{nodes: 32}"])
    assert given_options(options, Run) == {"settings": {"nodes": 32}}
    with pytest.raises(argparse.ArgumentError, match="--settings.*'{nodes'"):
        parser.parse_args(["--settings", "{nodes"])


def test_old_names_are_accepted_but_not_in_the_help(parser):
    options = parser.parse_args(["--crop", "9", "--scale", "1", "2"])
    assert given_options(options, Run, MOVED) == {"crop": 9, "scale": [1, 2]}
    assert "--crop" not in parser.format_help()


def test_the_help_has_a_group_for_each_block(parser):
    text = " ".join(parser.format_help().split())
    run = "--name TEXT what it is called (default: x) --teacher TEXT another --lr X learning rate (default: 0.1)"
    assert f"keys of a run: {run}" in text
    compiled = "--compile [true|false] compile it (default: false) --settings MAP of the model"
    assert f"--precision auto|no of the products (default: auto) {compiled}" in text
    block = "--block.crop N side of the crop, 100 % of it (default: 8) --block.scale X [X ...] range of"
    assert f"Keys of the crops: {block}" in text


def test_an_empty_path_is_not_the_current_folder(capsys):
    """As ``--out "$OUT"`` gives it."""
    assert path_argument("a/b") == Path("a/b")
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=path_argument)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", ""])
    assert "--out: the path is empty" in capsys.readouterr().err


def test_an_address_is_no_path(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=path_argument)
    with pytest.raises(SystemExit):
        parser.parse_args(["https://example.org/model_final.pkl"])
    assert "https://example.org/model_final.pkl is an address; give a path" in capsys.readouterr().err
