"""What the results of all tasks have in common."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..data.georeference import Placed
from ..messages import and_more, nearest
from ..options import build, read
from .drawing import Colour, check_alpha, drawn_colour, legend, text_size, with_legend
from .equality import ComparedByValue
from .outlines import polygons
from .saving import Saving, check_gray, write
from .task import Found

_SHOWN = 3  # classes in the short form of a result


class Region(NamedTuple):
    """The pixels of one annotation.

    Attributes:
        class_id: its class.
        mask: ``(h, w)`` bool, its part of the image.
        x0, y0: position of the mask in the image, in pixels.
        score: of an object; else None.
    """

    class_id: int
    mask: np.ndarray
    x0: int
    y0: int
    score: float | None = None


class ImageResult(ComparedByValue, ABC):
    """The result for one image: base of the dataclasses that implement `srzoo.tasks.task.Result`.

    Attributes:
        image: the input as upright RGB.
        classes: class names in order of id.
        palette: an RGB colour (0..255) for each class.
        georeference: of the file that was read, if it is a GeoTIFF; `save` then writes labels as GeoTIFF, too.
    """

    image: Image.Image
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    georeference = None  # without annotation, so that it is no field of the dataclasses

    @abstractmethod
    def _drawn(self, alpha: float) -> Image.Image:
        """The overlay without legend, in `colours`; ``alpha`` is in 0..1."""

    @abstractmethod
    def found(self) -> list[Found]:
        """The lines to print, the most important first."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The result as values that JSON can hold."""

    @abstractmethod
    def regions(self) -> Iterator[Region]:
        """The pixels of each annotation in COCO's JSON: of each object, or of each class."""

    @abstractmethod
    def mask(self, which: str | int) -> np.ndarray:
        """``(H, W)`` bool, the pixels of a class, by its name, or of one part of the result, by its number.

        Raises:
            ValueError: there is no such class or part.
        """

    @abstractmethod
    def _contents(self, saving: Saving) -> dict[str, Callable[[], Any]]:
        """The task's own files, as `srzoo.tasks.saving.write` takes them."""

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The RGB colour of each class in overlays: brighter than its colour in the palette."""
        return tuple(map(drawn_colour, self.palette))

    def overlay(self, alpha: float = 0.5, legend: bool = False) -> Image.Image:
        """The result drawn over the image.

        Args:
            alpha: opacity of the colours, from 0 (none) to 1 (nothing else).
            legend: name the colours in lines below the image.

        Raises:
            ValueError: ``alpha`` is not in 0..1.
        """
        check_alpha(alpha)
        picture = self._drawn(alpha)
        return with_legend(picture, self._entries()) if legend else picture

    def legend(self) -> Image.Image:
        """The names and colours of the classes found, as a picture of the image's width."""
        return legend(self._entries(), self.image.width, text_size(self.image.size))

    def _entries(self) -> list[tuple[str, Colour]]:
        return [(each.name, each.colour) for each in self.found()]

    def _number(self, which: object, what: str, numbers: range) -> int:
        """A number that `mask` was given.

        Raises:
            ValueError: it is another kind of value, or none of those that there are.
        """
        if isinstance(which, bool) or not isinstance(which, Integral) or which not in numbers:
            they = f"they are {numbers[0]} to {numbers[-1]}" if numbers else "there is none"
            raise ValueError(f"no {what} {which!r}; {they}, or pass the name of a class")
        return int(which)

    def class_id(self, name: str) -> int:
        """The id of a class.

        Raises:
            ValueError: there is no class of this name; the message suggests the nearest one.
        """
        if name not in self.classes:
            raise ValueError(f"no class {name!r}{nearest(name, self.classes)}; they are {and_more(self.classes, 20)}")
        return self.classes.index(name)

    def _category_ids(self, given: Sequence[int] | None) -> Sequence[int]:
        """The id of each class in COCO's JSON: those given, else 1, 2, ...

        Raises:
            ValueError: there is not one for each class.
        """
        if given is None:
            return range(1, 1 + len(self.classes))
        if len(given) != len(self.classes):
            raise ValueError(f"got {len(given)} category_ids for {len(self.classes)} classes; pass one for each class")
        return [plain(id) for id in given]

    def coco_annotations(
        self, image_id: int = 1, first_id: int = 1, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """The result as annotations of COCO's JSON, with polygons that cover the pixels exactly.

        Args:
            image_id: id of the image.
            first_id: id of the first annotation.
            category_ids: the id of each class; default 1, 2, ...

        Raises:
            ValueError: there is not one category id for each class.
        """
        ids = self._category_ids(category_ids)
        annotations = []
        for region in self.regions():
            ys, xs = (np.flatnonzero(region.mask.any(axis)) for axis in (1, 0))
            if not len(ys):
                continue
            top, left, bottom, right = (int(side) for side in (ys[0], xs[0], ys[-1] + 1, xs[-1] + 1))
            x0, y0 = region.x0 + left, region.y0 + top
            annotation = {
                "id": plain(first_id) + len(annotations),
                "image_id": plain(image_id),
                "category_id": ids[region.class_id],
                "segmentation": polygons(region.mask[top:bottom, left:right], x0, y0),
                "bbox": [x0, y0, right - left, bottom - top],
                "area": int(np.count_nonzero(region.mask)),
                "iscrowd": 0,
            }
            annotations.append(annotation if region.score is None else {**annotation, "score": round(region.score, 4)})
        return annotations

    def to_coco_json(self, file_name: str = "") -> dict[str, Any]:
        """A whole file of COCO's JSON for this image, whose name is ``file_name``; the image has the id 1.

        The entry of the image also has what `to_dict` says of a class, such as the shares.
        """
        facts = {key: value for key, value in self.to_dict().items() if key in ("width", "height", "shares")}
        return {
            "images": [{"id": 1, "file_name": file_name, **facts}],
            "categories": [
                {"id": i, "name": name, "color": [*colour]}
                for i, (name, colour) in enumerate(zip(self.classes, self.palette), 1)
            ],
            "annotations": self.coco_annotations(),
        }

    def save(self, base: str | Path, source: str = "", **options: Any) -> list[Path]:
        """Write the files of the result; those of an earlier result are replaced, other files are not.

        Args:
            base: what the names of the files start with, e.g. ``out/street`` for ``out/street_overlay.jpg``. Their
                folder is made if need be.
            source: name of the image, which the files tell.
            **options: fields of `srzoo.tasks.saving.Saving`, such as ``legend=True``.

        Returns:
            The paths of the files.

        Raises:
            ValueError: there is no such option, its value is out of range, ``gray`` is given and the result is not a
                semantic model's, or ``base`` ends in no name.
            FileExistsError: a file of this name is no result of srzoo; nothing is written then.
            OSError: a file cannot be written.
        """
        base = Path(base)
        if not base.name:
            raise ValueError(f"save needs what the files' names start with, such as 'out/street', got {str(base)!r}")
        saving = build(Saving, read(Saving, options))
        own = self._contents(saving)
        check_gray(saving, own)
        contents = {**own, "_overlay.jpg": lambda: self.overlay(saving.alpha, saving.legend)}
        if self.georeference:
            for ending in (ending for ending in own if ending.endswith(".png")):
                contents[ending.replace(".png", ".tif")] = partial(self._placed, own[ending])
        if saving.json:
            contents["_coco.json"] = lambda: self.to_coco_json(source)
        base.parent.mkdir(parents=True, exist_ok=True)
        return write(base, contents, source)

    def _placed(self, make: Callable[[], Image.Image]) -> Placed:
        return Placed(make(), self.georeference)

    def __repr__(self) -> str:
        found = [f"{each.name} {each.value}" for each in self.found()]
        what = and_more(found, _SHOWN) if found else "nothing found"
        return f"{type(self).__name__}({self.image.width}x{self.image.height}: {what})"

    def _repr_png_(self) -> bytes:
        """The overlay with a legend as a PNG file, which a notebook shows."""
        buffer = io.BytesIO()
        self.overlay(legend=True).save(buffer, "PNG")
        return buffer.getvalue()


def plain(id: Any) -> Any:
    """An id as JSON can hold it, which numpy's and PyTorch's numbers are not."""
    return id.item() if hasattr(id, "item") else id
