import pytest

from srzoo.cli import main
from srzoo.video import Clip
from tests.video.conftest import write_video  # noqa: F401


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
