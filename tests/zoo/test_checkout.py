import subprocess

import pytest

from srzoo.zoo import checkout


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with the module in the place that it has in this one."""
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "srzoo" / "zoo" / "checkout.py"))
    return tmp_path


def git(root, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def test_an_installed_package_has_none(root):
    assert checkout.commit() is None


def test_a_changed_file_makes_it_dirty_unless_ignored(root):
    git(root, "init", "-q")
    (root / "results").mkdir()
    for name in ("a", "results/b"):
        (root / name).write_text("1")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    commit = checkout.commit()
    assert len(commit) == 12 and int(commit, 16)
    (root / "new").write_text("untracked files change nothing")
    (root / "results" / "b").write_text("2")
    assert checkout.commit() == f"{commit}-dirty"
    assert checkout.commit(ignoring=("results",)) == commit
    (root / "a").write_text("2")
    assert checkout.commit(ignoring=("results",)) == f"{commit}-dirty"
