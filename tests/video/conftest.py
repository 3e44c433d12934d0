"""Small videos, written by PyAV alone."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_video(tmp_path):
    """Write a video whose frames are gray, each lighter than the one before, with a red upper left quarter."""

    def write(name="clip.mp4", frames=6, size=(64, 48), rate=10, rotation=0, sound=True, start=0, codec="libx264"):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            if rotation:
                stream.set_display_rotation(rotation)
            voice = container.add_stream("aac", rate=48000) if sound else None
            for i in range(frames):
                image = Image.new("RGB", size, (20 * i,) * 3)
                image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
                frame = av.VideoFrame.from_image(image)
                frame.pts, frame.time_base = i + start, Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if voice:
                wave = np.sin(np.arange(48000 * frames // rate) / 20).astype(np.float32)[None]
                heard = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                heard.sample_rate, heard.pts, heard.time_base = 48000, start * 48000 // rate, Fraction(1, 48000)
                container.mux(voice.encode(heard))
                container.mux(voice.encode(None))
        return path

    return write


class Shown:
    """The result of a model that draws nothing."""

    def __init__(self, image, brief=False):
        self.image = image

    def overlay(self):
        return self.image


@pytest.fixture
def shown():
    """In place of a `srzoo.Segmenter`: the frames themselves are its results."""
    return Shown
