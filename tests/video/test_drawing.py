import itertools
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import srzoo
from srzoo.video import Clip, VideoError, draw, segment

ROOT = Path(__file__).parents[2]


def packets(path):
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.dts is not None]


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_frames_times_and_sound_are_kept(write_video, shown, tmp_path, ending):
    source, target = write_video(frames=8), tmp_path / f"out{ending}"
    drawn = draw(source, target, shown)
    assert (drawn.frames, drawn.has_sound) == (8, True)
    before, after = list(Clip(source).read()), list(Clip(target).read())
    # Matroska has no negative times, as the sound begins with; it moves both by 21 ms.
    assert np.allclose([float(f.time) for f in after], [float(f.time) for f in before], atol=0.022)
    for a, b in zip(before, after, strict=True):
        assert np.abs(np.asarray(a.image, float) - np.asarray(b.image)).mean() < 4
    assert [content for _, content in packets(source)] == [content for _, content in packets(target)]


def test_every_second_frame_at_its_time(write_video, shown, tmp_path):
    draw(write_video(frames=7), tmp_path / "out.mp4", shown, every=2)
    frames = list(Clip(tmp_path / "out.mp4").read())
    assert [float(f.time) for f in frames] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert Clip(tmp_path / "out.mp4").rate == 5


def test_rotated_video_is_written_upright(write_video, shown, tmp_path):
    draw(write_video(rotation=90), tmp_path / "out.mp4", shown)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)


def test_webm_cannot_take_every_sound(write_video, shown, tmp_path):
    with pytest.warns(UserWarning, match=r"aac.*\.webm"):
        assert not draw(write_video(frames=3), tmp_path / "out.webm", shown).has_sound
    assert len(list(Clip(tmp_path / "out.webm").read())) == 3


def test_odd_sides_lose_a_row(write_video, tmp_path, shown):
    from PIL import Image

    def odd(image, brief=False):
        return shown(Image.new("RGB", (63, 47), "blue"))

    draw(write_video(frames=2, size=(64, 48)), tmp_path / "out.mp4", odd)
    assert Clip(tmp_path / "out.mp4").size == (64, 48)


def test_memory_does_not_grow_with_the_length(write_video, shown, tmp_path):
    peaks = []
    for frames in (10, 80):
        source = write_video(f"{frames}.mp4", frames=frames, size=(320, 240))
        tracemalloc.start()
        draw(source, tmp_path / "out.mp4", shown)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20)


def test_nothing_is_left_of_a_failure(write_video, shown, tmp_path):
    source, target = write_video(), tmp_path / "out.mp4"
    target.write_bytes(b"older")

    def fails(image, brief=False):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        draw(source, target, fails)
    assert target.read_bytes() == b"older"
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.mp4"]


def test_invalid_targets(write_video, shown, tmp_path):
    source = write_video()
    with pytest.raises(VideoError, match=r"out\.gif: .*\.mp4"):
        draw(source, tmp_path / "out.gif", shown)
    with pytest.raises(VideoError, match="clip.mp4 is the video that is read"):
        draw(source, source, shown)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match=r"folder\.mp4 is a folder"):  # before a frame is segmented
        draw(source, tmp_path / "folder.mp4", shown)
    (tmp_path / "folder.mp4").rmdir()
    for every in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match=re.escape(f"every={every!r}")):
            draw(source, tmp_path / "out.mp4", shown, every=every)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        draw(source, tmp_path / "nowhere" / "out.mp4", shown)
    assert os.listdir(tmp_path) == ["clip.mp4"]


_STOPPED = """
import signal, sys, time
from srzoo.video import draw

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored

class Shown:
    def __init__(self, image, brief=False):
        self.image = image
        time.sleep(0.05)
        print("frame", flush=True)
    def overlay(self):
        return self.image

try:
    draw(sys.argv[1], sys.argv[2], Shown)
except KeyboardInterrupt as error:
    print(error, flush=True)
"""


def test_ctrl_c_leaves_what_is_done(write_video, tmp_path):
    source, target = write_video(frames=200), tmp_path / "out.mp4"
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    process = subprocess.Popen(
        [sys.executable, "-c", _STOPPED, str(source), str(target)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    for _ in range(5):
        assert process.stdout.readline() == "frame\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0].splitlines()[-1]
    frames = list(Clip(target).read())
    assert 4 <= len(frames) < 100
    assert f"out.mp4 has the {len(frames)} frames" in said
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.mp4"]


def test_segment_yields_a_result_for_each_frame(write_video, examples):
    segmenter = srzoo.Segmenter("srnet_lite0_camvid")
    results = list(segment(write_video(frames=3, size=(64, 48)), segmenter, every=2))
    assert [result.labels.shape for result in results] == [(48, 64)] * 2
    endless = itertools.repeat(examples / "street.png")
    started = time.monotonic()
    first = next(segment(endless, segmenter))
    assert np.array_equal(first.labels, segmenter(examples / "street.png").labels)
    assert time.monotonic() - started < 60
    with pytest.raises(ValueError, match="street.png"):
        segment(examples / "street.png", segmenter)


def test_segment_takes_several_images_and_its_own_options():
    segmenter = srzoo.Segmenter("srnet_lite0_camvid")
    pixels = np.zeros((40, 30, 3), np.uint8)
    for one in (pixels, pixels[..., 0], Image.fromarray(pixels), b"bytes", None):  # rows are not frames
        with pytest.raises(ValueError, match=f"got one {type(one).__name__}"):
            segment(one, segmenter)
    assert len(list(segment(np.stack([pixels] * 3), segmenter, every=2))) == 2
    with pytest.raises(ValueError, match="tile"):
        segment([pixels], segmenter, tile=512)
