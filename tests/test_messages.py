import numpy as np
import pytest

from srzoo.messages import and_more, importing, nearest, one_line, shortened


def test_the_first_line_of_an_error():
    assert one_line(ValueError("a\nb")) == "a"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_the_nearest_of_several_names():
    assert "'camvid'" in nearest("canvid", ["cityscapes", "camvid"])
    assert nearest("kitti", ["cityscapes", "camvid"]) == ""


@pytest.mark.parametrize(
    ("items", "shown", "text"),
    [([], 1, ""), (["a"], 1, "a"), (["a", "b", "c"], 1, "a, and 2 more"), (["a", "b", "c"], 2, "a, b, and 1 more")],
)
def test_the_first_of_many_and_their_number(items, shown, text):
    assert and_more(items, shown) == text


class OwnError(ImportError):
    """Takes no name, as the errors of some packages."""

    def __init__(self, part):
        super().__init__(f"no {part}")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ModuleNotFoundError("No module named 'av.audio'", name="av.audio"), "videos need the package 'av': pip"),
        (ImportError("libx264.so: no such file", name="av._core"), r"'av' \(libx264.so: no such file\): pip"),
        (ImportError("DLL load failed"), r"videos need a package .*imported \(DLL load failed\): pip"),
        (ModuleNotFoundError("libheif"), r"videos need a package .*imported \(libheif\): pip"),
        (OwnError("codec"), r"videos need a package .*imported \(no codec\): pip"),
    ],
)
def test_a_package_that_cannot_be_imported(error, text):
    kind = ImportError if isinstance(error, OwnError) else type(error)
    with (
        pytest.raises(kind, match=rf"{text} install 'srzoo\[video\]'"),
        importing("videos need", "'srzoo[video]'"),
    ):
        raise error


def test_the_first_of_many_on_lines_of_their_own():
    assert and_more(["a", "b", "c"], 2, "\n") == "a\nb\nand 1 more"


def test_values_from_files_are_on_one_line_and_short():
    assert (shortened(7), shortened("7"), shortened("a\nb")) == ("7", "'7'", r"'a\nb'")
    assert len(shortened(10**400)) == 63
    assert shortened([1, 2, 3], 4) == "[1, ..."
    assert shortened(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
