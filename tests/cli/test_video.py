import pytest

from srzoo.cli import main
from srzoo.cli.video import own_turn, targets_for
from srzoo.files import LockedError
from srzoo.tasks.saving import source_in
from srzoo.video import Clip, draw
from srzoo.video.names import ENDINGS, VideoError
from srzoo.video.reading import comment_of
from tests.video.conftest import shown, write_video  # noqa: F401


def test_a_video_to_a_file_and_to_a_folder(write_video, tmp_path, capsys):  # noqa: F811
    source = str(write_video(frames=4))
    assert main(["segment", source, "--out", str(tmp_path / "out.mp4"), "--every", "2"]) == 0
    assert len(list(Clip(tmp_path / "out.mp4").read())) == 2
    assert main(["segment", source, "--out", str(tmp_path / "out"), "--every", "4"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip_overlay.mp4"]
    printed = capsys.readouterr()
    assert "2 frames, 0.2 s, with sound" in printed.out
    assert not printed.err  # a progress bar is for terminals, not for a file of errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.mp4"], "missing.mp4: no such file"),
        (["99"], "camera 99: "),
        (["clip.mp4", "image.png"], "images and videos"),
        (["clip.mp4", "--every", "0"], "every=0"),
        (["clip.mp4", "--out", "out.gif"], "out.gif"),
        (["clip.mp4", "--out", "clip.mp4"], "clip.mp4 is the video that is read"),
        (["clip.mp4", "clip2.mp4", "--out", "out.mp4"], "2 videos"),
        (["image.png", "--out", "out.mp4"], "--out out.mp4 is the file of a video"),
        (["image.png", "--every", "3"], "--every 3 is for videos"),
    ],
)
def test_errors_are_one_line(write_video, tmp_path, monkeypatch, capsys, arguments, said):  # noqa: F811
    for name in ("clip.mp4", "clip2.mp4"):
        write_video(name, frames=2)
    monkeypatch.chdir(tmp_path)
    assert main(["segment", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["clip.mp4", "clip2.mp4"]


def test_a_folder_named_as_a_video(write_video, tmp_path):  # noqa: F811
    (tmp_path / "out.mp4").mkdir()
    assert main(["segment", str(write_video(frames=2)), "--out", str(tmp_path / "out.mp4")]) == 0
    assert [path.name for path in (tmp_path / "out.mp4").iterdir()] == ["clip_overlay.mp4"]


def test_one_broken_video_does_not_stop_the_others(write_video, tmp_path, capsys):  # noqa: F811
    (tmp_path / "broken.mp4").write_text("no")
    paths = [str(tmp_path / "broken.mp4"), str(write_video(frames=2))]
    assert main(["segment", *paths, "--out", str(tmp_path / "out")]) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip_overlay.mp4"]
    assert "1 of 2 videos failed" in capsys.readouterr().err


def test_the_video_of_another_source_stays(write_video, shown, tmp_path):  # noqa: F811
    """That of clip.mkv was replaced by that of clip.mp4, and of a camera the only one that there was."""
    mp4, mkv = str(write_video(frames=2)), str(write_video("clip.mkv", frames=3))
    out = tmp_path / "out"
    out.mkdir()

    def names(*videos):
        return [path.name for path in targets_for(out, [*videos]).values()]

    assert names(mp4, mkv, "0") == ["camera0_overlay.mp4", "clip_overlay.mp4", "clip-2_overlay.mp4"]
    (target,) = targets_for(out, [mp4]).values()
    draw(mp4, target, shown)
    (out / "camera0_overlay.mp4").write_bytes(target.read_bytes())
    assert names(mp4) == ["clip_overlay.mp4"]  # the same command replaces what it wrote
    assert names(mkv) == ["clip-2_overlay.mp4"]
    assert names(mkv, mp4) == ["clip-2_overlay.mp4", "clip_overlay.mp4"]
    assert names("0") == ["camera0-2_overlay.mp4"]
    for foreign in (write_video("foreign.mp4", frames=2).read_bytes(), b"", b"no video"):
        target.write_bytes(foreign)
        assert names(mp4) == ["clip-2_overlay.mp4"]


def test_a_video_that_another_process_writes_meanwhile_stays(write_video, shown, tmp_path, monkeypatch):  # noqa: F811
    mp4, mkv = Clip(write_video(frames=2)), Clip(write_video("clip.mkv", frames=2))
    target = tmp_path / "clip_overlay.mp4"
    with own_turn(target, mp4):
        draw(mp4, target, shown)
    with own_turn(target, mp4):  # the same command may run again
        pass
    with pytest.raises(VideoError, match=r"clip_overlay\.mp4 is .* another"), own_turn(target, mkv):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "clip.mp4", "clip_overlay.mp4"]

    def refuse(path, wait):
        raise LockedError("another process has it")

    monkeypatch.setattr("srzoo.cli.video.locked", refuse)
    with pytest.raises(VideoError, match=r"another process is writing .*clip_overlay\.mp4"), own_turn(target, mp4):
        pass


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_video_tells_whose_result_it_is(ending, write_video, shown, tmp_path):  # noqa: F811
    target = tmp_path / f"out{ending}"
    draw(write_video("a b.mkv", frames=2, sound=False), target, shown)
    assert source_in(comment_of(target)) == "a%20b.mkv"
