"""CamVid in the layout of the SegNet tutorial: ``train/``, ``trainannot/``, ``val/`` ... of 480x360 PNG files."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from .labels import IGNORE

VOID = 11  # the id of unlabelled pixels in the files


class CamVid(Dataset):
    """Pairs of an RGB image ``(H, W, 3)`` and its ids ``(H, W)``, both uint8 arrays; void becomes 255.

    Args:
        root: the folder that holds ``<split>/`` and ``<split>annot/``.
        split: "train", "val" or "test".

    Raises:
        FileNotFoundError: a folder or an annotation is missing; the message names it.
    """

    def __init__(self, root: str | Path, split: str):
        self.split = split
        images, annotations = Path(root, split), Path(root, split + "annot")
        for folder in (images, annotations):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"no folder {folder}: expected {split}/ and {split}annot/, the SegNet tutorial's layout"
                )
        self.images = sorted(images.glob("*.png"))
        self.annotations = [annotations / path.name for path in self.images]
        missing = [path.name for path in self.annotations if not path.is_file()]
        if missing or not self.images:
            raise FileNotFoundError(
                f"{len(missing)} of {len(self.images)} images in {images} have no annotation in {annotations}"
                + (f", the first is {missing[0]}" if missing else "")
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        with Image.open(self.images[index]) as image:
            pixels = np.array(image.convert("RGB"))
        with Image.open(self.annotations[index]) as annotation:
            ids = np.array(annotation)
        ids[ids == VOID] = IGNORE
        return pixels, ids
