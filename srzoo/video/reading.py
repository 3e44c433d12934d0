"""Reading a video or a camera frame by frame, as upright 8-bit RGB. PyAV is imported when something is opened."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from ..images import MAX_PIXELS, name_of
from ..messages import importing, one_line, visible
from .names import VideoError, is_camera

if TYPE_CHECKING:
    import av

# A file's content decides what FFmpeg takes it for, whatever its name, and a playlist could name any other file or
# address. So only formats that contain their frames themselves are read, and only from the file.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,asf,flv,ogg,gif"
_FILE = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
_TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
}
_USUAL_RATE = Fraction(25)  # frames a second, where a file does not say


class Frame(NamedTuple):
    """A frame: the upright image, and the time at which it is shown, in seconds from the start of the video."""

    image: Image.Image
    time: Fraction


class Clip:
    """A video file or a camera, opened to look at its first frame, and anew each time its frames are read.

    Args:
        source: path of a file, or number of a camera.

    Attributes:
        name: as messages name it.
        size: ``(width, height)`` of the upright frames, in pixels. A later frame of another size is resized to it.
        rate: frames a second, on average.
        tick: the unit of the frames' times, in seconds.
        aspect: width of a pixel divided by its height.
        seconds: duration; None if it is not known, as of a camera.
        frames: number of frames; None if it is not known.
        is_camera: whether it is a camera, which ends only when the user stops it.

    Raises:
        VideoError: there is no such file or camera, it is no video, or it has too many pixels.
        ImportError: PyAV is not installed.
    """

    def __init__(self, source: str | os.PathLike | int):
        self.is_camera = is_camera(source)
        self.name = f"camera {source}" if self.is_camera else name_of(source)
        self.source = source
        if not self.is_camera:
            _check_file(Path(source), self.name)
        with self.open() as container:
            stream = self._video(container)
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
            self.tick = Fraction(stream.time_base or 1 / self.rate)
            self.aspect = Fraction(stream.sample_aspect_ratio or 1)
            self.seconds = None if self.is_camera or not container.duration else container.duration / 1e6
            known = stream.frames or (self.seconds and round(self.seconds * self.rate))
            self.frames = None if self.is_camera or not known else int(known)
            first = next(self._decoded(container, stream, None), None)
            if first is None:
                raise VideoError(f"{self.name}: no frame of it can be decoded")
            image = _upright(first)
            self.size = image.size
            if image.size != (first.width, first.height):
                self.aspect = 1 / self.aspect

    def read(self, sound: Callable[[av.Packet], None] | None = None) -> Iterator[Frame]:
        """The frames in the order in which they are shown; one is in memory at a time.

        A damaged part is left out, and so is what follows the end of a truncated file; a warning says so.

        Args:
            sound: called with each packet of the sound, between the frames.
        """
        with self.open() as container:
            stream = self._video(container)
            start = Fraction(max(0, container.start_time or 0), 1_000_000)
            shown, count = Fraction(-1), 0

            def shifted(packet: av.Packet) -> None:
                packet.dts -= round(start / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - round(start / packet.time_base)
                sound(packet)

            for frame in self._decoded(container, stream, shifted if sound else None):
                if self.is_camera and shown < 0 and frame.pts is not None:
                    start = frame.pts * Fraction(frame.time_base)
                # A frame without a time, or with one that lies behind, follows the one before it.
                time = shown + 1 / self.rate if frame.pts is None else frame.pts * Fraction(frame.time_base) - start
                shown = max(time, shown + self.tick, Fraction(0))
                image, count = _upright(frame), count + 1
                yield Frame(image if image.size == self.size else image.resize(self.size), shown)
            if self.frames and self.seconds and count < 0.9 * self.frames and shown + start < 0.9 * self.seconds:
                _warn(f"{self.name}: ends after {float(shown):.1f} of {self.seconds:.1f} s, as if it were cut off")

    def sound(self, container: av.container.InputContainer) -> av.AudioStream | None:
        """The stream of the sound that `read` passes on, of a container from `open`; None if there is none."""
        return next(iter(container.streams.audio), None)

    def open(self) -> av.container.InputContainer:
        """The container of the source, for a ``with`` block."""
        av = import_av()
        try:
            if not self.is_camera:
                return av.open(os.fspath(self.source), options=_FILE, metadata_errors="replace")
            if sys.platform not in _CAMERAS:
                raise VideoError(f"{self.name}: cameras are read on Linux and macOS alone; give the path of a video")
            form, path = _CAMERAS[sys.platform]
            return av.open(path.format(self.source), format=form)
        except (av.FFmpegError, OSError) as error:
            reason = visible(getattr(error, "strerror", None) or one_line(error))
            what = "cannot be opened" if self.is_camera else "not a video that can be read"
            raise VideoError(f"{self.name}: {what} ({reason})") from error

    def _video(self, container: av.container.InputContainer) -> av.VideoStream:
        streams = [each for each in container.streams.video if not _is_cover(each)]
        if not streams:
            raise VideoError(f"{self.name}: there is no picture in it")
        stream = streams[0]
        if stream.width * stream.height > MAX_PIXELS:
            raise VideoError(f"{self.name}: {stream.width}x{stream.height} pixels, expected at most {MAX_PIXELS:,}")
        stream.thread_type = "AUTO"
        return stream

    def _decoded(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        sound: Callable[[av.Packet], None] | None,
    ) -> Iterator[av.VideoFrame]:
        """The frames of a stream, as decoded."""
        av = import_av()
        audio = self.sound(container) if sound else None
        damaged, packets = 0, container.demux([stream, audio] if audio else [stream])
        while True:
            try:
                packet = next(packets)
                if packet.stream is not stream:
                    if packet.dts is not None:  # the last packet is empty
                        sound(packet)
                    continue
                frames = packet.decode()
            except (StopIteration, av.EOFError):
                break
            except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
                damaged, reason = damaged + 1, one_line(error)
                if damaged > _MOST_DAMAGED:
                    break
                continue
            yield from frames
        if damaged:
            _warn(f"{self.name}: {damaged} damaged parts are left out ({reason})")


_MOST_DAMAGED = 1000


def import_av() -> Any:
    """PyAV, which ignores FFmpeg's messages.

    Its level of logging is left alone: with any level, even the highest, FFmpeg's threads wait for Python's lock to
    log, and a decoder that is closed meanwhile waits for them with the lock held, forever.

    Raises:
        ImportError: it is not installed.
    """
    with importing("videos need", "'srzoo[video]'"):
        import av
    return av


def comment_of(path: Path) -> str:
    """The comment in the file of a video; empty if it has none, or cannot be read."""
    av = import_av()
    try:
        with av.open(os.fspath(path), options=_FILE, metadata_errors="replace") as container:
            return next((text for name, text in container.metadata.items() if name.lower() == "comment"), "")
    except (av.FFmpegError, OSError):
        return ""


def check_every(every: int) -> None:
    """Check the number of frames of which one is taken.

    Raises:
        ValueError: it is no whole number from 1 on.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"every={every!r} must be a whole number of 1 or more")


def _check_file(path: Path, name: str) -> None:
    if path.is_dir():
        raise VideoError(f"{name}: a folder, not a video")
    if not path.exists():
        raise VideoError(f"{name}: no such file")
    if not path.is_file():
        raise VideoError(f"{name}: not a regular file")
    if path.stat().st_size == 0:
        raise VideoError(f"{name}: the file is empty")


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is the picture on the cover of a piece of music."""
    import av.stream

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _upright(frame: av.VideoFrame) -> Image.Image:
    if frame.width * frame.height > MAX_PIXELS:  # of a later frame
        raise VideoError(f"a frame has {frame.width}x{frame.height} pixels, expected at most {MAX_PIXELS:,}")
    image = frame.to_image()
    turn = _TURNS.get(90 * round(frame.rotation / 90))
    return image if turn is None else image.transpose(turn)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
