import os

import pytest

from srzoo.cli.inputs import find_images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x.png", "a/x.png", "a/b/y.jpg", "a/b/[1]/z.png", ".hidden/x.png", "a/notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def test_the_spellings_of_a_path_are_one_image(folder):
    spelled = ["in/x.png", "./in/x.png", str(folder / "x.png"), "in/a/../x.png", "in", "in/*.png"]
    assert find_images(spelled).images == {"in/x.png": ""}
    assert len(find_images(["in", str(folder)], recursive=True).images) == 4
    os.link(folder / "x.png", folder / "y.png")
    (folder / "z.png").symlink_to("x.png")
    assert len(find_images(["in"]).images) == 3  # each has a name of its own
    (folder / "link").symlink_to("a/b")
    assert len(find_images(["in/a/x.png", "in/link/../x.png"]).images) == 1
    assert len(find_images(["in/x.png", "in/link/../x.png"]).images) == 2  # the latter is in/a/x.png


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(folder, monkeypatch):
    def scandir(path, scandir=os.scandir):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", scandir)
    found = find_images(["in"], recursive=True)
    assert (list(found.images), found.failures) == (
        ["in/x.png", "in/a/x.png"],
        ["in/a/b: the folder cannot be read (Permission denied)"],
    )
    assert find_images(["in/a/b"]).failures == found.failures


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/**/*.png", ["in/a/b/[1]/z.png", "in/a/x.png", "in/x.png"]),
        ("in/**/b/**/*.*", ["in/a/b/[1]/z.png", "in/a/b/y.jpg"]),
        ("**/y.jpg", ["in/a/b/y.jpg"]),
        ("in/*/b/**", ["in/a/b/[1]/z.png", "in/a/b/y.jpg"]),
        ("in/a/*.png", ["in/a/x.png"]),
        ("in/**/nothing*", []),
    ],
)
@pytest.mark.parametrize("has_loops", [False, True])
def test_a_glob_of_all_folders_does_not_follow_links_in_circles(pattern, found, has_loops, folder):
    """Of one link back each image was found 41 times, and of two the search took days."""
    if has_loops:
        (folder / "a" / "loop").symlink_to("..")
        (folder / "a" / "b" / "loop").symlink_to(folder)
    assert sorted(find_images([pattern]).images) == found
    assert sorted(find_images([str(folder.parent / pattern)]).images) == [str(folder.parent / each) for each in found]
