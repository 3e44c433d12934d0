"""Videos and cameras: `segment` frame after frame, and `draw` the results into a new video.

Names are imported when first used, as those of `srzoo` are.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .drawing import Drawn, draw
    from .names import VideoError, is_video
    from .reading import Clip, Frame
    from .segmentation import segment

_HOME = {
    "Clip": ".reading",
    "Drawn": ".drawing",
    "Frame": ".reading",
    "VideoError": ".names",
    "draw": ".drawing",
    "is_video": ".names",
    "segment": ".segmentation",
}
__all__ = ["Clip", "Drawn", "Frame", "VideoError", "draw", "is_video", "segment"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME} - {"TYPE_CHECKING", "import_module"})
