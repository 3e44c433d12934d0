"""Writing a video: H.264 or VP9, with the sound of another file."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from .names import VideoError, check_ending
from .reading import import_av

if TYPE_CHECKING:
    import av

# Codec and options by the ending of a file; the H.264 of each plays in browsers and on telephones.
_H264 = ("libx264", {"crf": "20", "preset": "veryfast"})
_CODECS = {
    ".mp4": _H264,
    ".m4v": _H264,
    ".mov": _H264,
    ".mkv": _H264,
    ".webm": ("libvpx-vp9", {"crf": "30", "b": "0", "cpu-used": "6", "row-mt": "1"}),
}
_BT709, _LIMITED = 1, 1  # FFmpeg's numbers of the colours that are written


class Writer:
    """A video file that is being written; a context manager, which completes the file.

    Args:
        path: the file, whose ending is one of `srzoo.video.names.ENDINGS`.
        size: ``(width, height)`` of the frames. An odd side loses its last row or column, as H.264's colours need it.
        rate: frames a second, on average.
        tick: the unit of the frames' times, in seconds.
        aspect: width of a pixel divided by its height.
        sound: stream whose packets `add_sound` takes.
        comment: what the file says of itself.

    Attributes:
        has_sound: whether the format takes the sound as it is.

    Raises:
        VideoError: the ending is another one, or the frames are too small.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        tick: Fraction,
        aspect: Fraction = Fraction(1),
        sound: av.AudioStream | None = None,
        comment: str = "",
    ):
        check_ending(path)
        av = import_av()
        self._even = tuple(side // 2 * 2 for side in size)
        if not all(self._even):
            raise VideoError(f"{path}: frames of {size[0]}x{size[1]} pixels, expected 2x2 or more")
        codec, options = _CODECS[path.suffix.lower()]
        is_mp4 = path.suffix.lower() in (".mp4", ".m4v", ".mov")
        # The table of contents first, so that a browser plays it before all of it is there.
        self._container = av.open(str(path), "w", container_options={"movflags": "faststart"} if is_mp4 else {})
        self._container.metadata["comment"] = comment
        stream = self._stream = self._container.add_stream(codec, rate=rate, options=dict(options))
        stream.width, stream.height = self._even
        stream.pix_fmt, stream.time_base = "yuv420p", tick
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = tick, aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        self._tick, self._sound = tick, self._template(sound, path)
        self.has_sound = self._sound is not None

    def _template(self, sound: av.AudioStream | None, path: Path) -> av.AudioStream | None:
        if sound is None:
            return None
        name = sound.codec_context.name
        if name not in self._container.supported_codecs:
            warnings.warn(
                f"the sound ({name}) is left out, as {path.suffix} has none of its kind; try .mkv", stacklevel=4
            )
            return None
        return self._container.add_stream_from_template(sound)

    def add(self, image: Image.Image, time: Fraction) -> None:
        """Write a frame that is shown from ``time`` on, in seconds; later than the frame before it."""
        av = import_av()
        if image.size != self._even:
            image = image.crop((0, 0, *self._even))
        frame = av.VideoFrame.from_image(image)
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
        frame.pts, frame.time_base = round(time / self._tick), self._tick
        self._container.mux(self._stream.encode(frame))

    def add_sound(self, packet: av.Packet) -> None:
        """Write a packet of the sound."""
        if self._sound is not None:
            packet.stream = self._sound
            self._container.mux(packet)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()
