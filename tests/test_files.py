import errno
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest

from srzoo.files import LockedError, locked, remove_leftovers, replacing
from srzoo.messages import one_line, visible


def test_a_file_is_written_completely(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.name == path.name  # some writers go by the ending
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_nothing_and_names_the_file(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")  # the longest name there can be
    with pytest.raises(OSError, match=re.escape(f"[Errno {errno.ENOSPC}]")) as raised, replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
    assert raised.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "gone" / "a.txt"):
        pass
    assert raised.value.filename == str(tmp_path / "gone" / "a.txt")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").mkdir()
    with pytest.raises(OSError, match="a.txt") as raised, replacing("a.txt") as temporary:
        temporary.write_text("new")
    assert raised.value.filename == "a.txt" and "partial" not in str(raised.value)
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_planted_link_is_not_followed(tmp_path):
    """The name of the temporary file cannot be foreseen, and the link under the final name is replaced."""
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / "a.txt").symlink_to(target)
    (tmp_path / f".a.txt.{os.getpid()}.partial").symlink_to(target)
    with replacing(tmp_path / "a.txt") as temporary:
        assert temporary.parent.stat().st_mode & 0o777 == 0o700
        temporary.write_text("new")
    assert (target.read_text(), (tmp_path / "a.txt").read_text()) == ("mine", "new")


def _hold(path, held, end):
    with locked(path):
        held.set()
        end.wait(60)


def _write_for_ever(path, begun):
    with replacing(path) as temporary:
        temporary.write_text("half")
        begun.set()
        time.sleep(60)


def test_a_lock_holds_until_its_process_is_killed(tmp_path):
    context, path = multiprocessing.get_context("fork"), tmp_path / "lock"
    held, end = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(path, held, end))
    holder.start()
    assert held.wait(60)
    with pytest.raises(LockedError), locked(path, wait=False):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with locked(path, wait=False):
        assert path.exists()
    assert not path.exists()


def test_leftovers_of_a_killed_writer_are_removed_and_others_are_kept(tmp_path):
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    writer = context.Process(target=_write_for_ever, args=(tmp_path / "m.bin", begun))
    writer.start()
    assert begun.wait(60)
    (tmp_path / ".model.safetensors.77.partial").write_bytes(b"half")  # of version 0.1
    (tmp_path / ".tmpAbC123").write_bytes(b"\x10" + bytes(7) + b'{"a"')  # of safetensors
    foreign = {".tmpfolder", ".tmpABCDEF", ".films.partial", ".mine.partial"}
    (tmp_path / ".tmpfolder").write_bytes(b"x" * 20)
    (tmp_path / ".tmpABCDEF").write_bytes(b"x" * 20)
    (tmp_path / ".films.partial").write_bytes(b"x")
    (tmp_path / ".mine.partial").mkdir()
    (tmp_path / ".mine.partial" / "a").write_bytes(b"x")
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(foreign) + 1  # the writer lives
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    remove_leftovers(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == foreign


def test_text_from_outside_is_visible_and_short():
    assert visible("a\x1b]0;t\x07\r\nb\u202e\ud800é道") == r"a\x1b]0;t\x07\r\nb\u202e\ud800é道"
    assert len(visible("x" * 10**7)) < 2100
    assert one_line(ValueError("x\x1b[31m" * 10**5 + "\nmore"))[:12] == r"x\x1b[31mx\x"
