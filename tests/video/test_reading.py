import os
import re
import warnings
from fractions import Fraction

import numpy as np
import pytest

from srzoo.video import Clip, VideoError, is_video


def place(image):
    """The corner that the red quarter of a frame lies in, as (left or right, top or bottom)."""
    red = np.asarray(image)[..., 0].astype(int) - np.asarray(image)[..., 1] > 100
    rows, columns = np.nonzero(red)
    return (columns.mean() > image.width / 2, rows.mean() > image.height / 2)


def test_what_is_a_video(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").touch()  # a file of that name is a file
    assert [is_video(each) for each in ("a.MP4", tmp_path / "b.webm", "0", 1)] == [True] * 4
    assert [is_video(each) for each in ("a.png", "7", "", True, None, [0], -1, "12345")] == [False] * 8


def test_frames_come_with_their_times(write_video):
    clip = Clip(write_video(frames=5))
    assert (clip.size, clip.rate, clip.frames, clip.aspect) == ((64, 48), 10, 5, 1)
    assert clip.seconds == pytest.approx(0.5, abs=0.1)
    for _ in range(2):  # the frames can be read again
        frames = list(clip.read())
        assert [frame.time for frame in frames] == [Fraction(i, 10) for i in range(5)]
        grays = [np.asarray(frame.image)[40, 60, 0] for frame in frames]
        assert np.allclose(grays, [0, 20, 40, 60, 80], atol=4)


# Counter-clockwise, as FFmpeg's matrix says it: the upper left corner goes to the lower left one, and so on.
@pytest.mark.parametrize(
    ("rotation", "size", "corner"),
    [(0, (64, 48), (0, 0)), (90, (48, 64), (0, 1)), (180, (64, 48), (1, 1)), (-90, (48, 64), (1, 0))],
)
def test_frames_are_upright(write_video, rotation, size, corner):
    clip = Clip(write_video(rotation=rotation, frames=2))
    assert clip.size == size
    assert all(frame.image.size == size and place(frame.image) == corner for frame in clip.read())


def test_a_late_start_is_time_zero_for_picture_and_sound(write_video):
    clip, packets = Clip(write_video("late.mkv", start=30)), []
    times = [frame.time for frame in clip.read(packets.append)]
    assert times[0] == 0 and times[1] == Fraction(1, 10)
    assert packets and abs(float(packets[0].pts * packets[0].time_base)) < 0.05


def test_invalid_files_are_one_line(tmp_path, write_video, write_image):
    (tmp_path / "text.mp4").write_text("no video " * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    # FFmpeg would open the files that a playlist names, whatever the name of the playlist.
    other = write_video("other.mp4")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {other.name}\n")
    os.rename(write_image(tmp_path / "image.png"), tmp_path / "image.mp4")
    whole = other.read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 3])
    for name in ("text", "empty", "folder", "list", "concat", "image", "half", "missing"):
        with pytest.raises(VideoError, match=re.escape(f"{name}.mp4: ")) as caught:
            Clip(tmp_path / f"{name}.mp4")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_music_has_no_picture(write_video, tmp_path):
    import av

    with av.open(str(write_video())) as source, av.open(str(tmp_path / "music.mp4"), "w") as target:
        voice = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = voice
                target.mux(packet)
    with pytest.raises(VideoError, match="music.mp4: .*picture"):
        Clip(tmp_path / "music.mp4")


def test_a_missing_camera_is_one_line():
    with pytest.raises(VideoError, match="camera 99: "):
        Clip(99)


def test_a_damaged_part_is_left_out_with_a_warning(write_video):
    path = write_video("long.mkv", frames=60, codec="mpeg4", sound=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = content[len(content) // 2 : len(content) // 2 + 20]
    path.write_bytes(content)
    clip = Clip(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames = list(clip.read())
    assert 5 < len(frames) < 60
    assert any("long.mkv: " in str(each.message) for each in caught)


def test_ffmpeg_logs_without_python(write_video):
    """A level would make its threads wait for Python's lock, which a thread that closes a decoder holds."""
    import av.logging

    list(Clip(write_video(frames=3)).read())
    assert av.logging.get_level() is None
