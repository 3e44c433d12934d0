"""The readers by name. Imports no torch."""

from __future__ import annotations

from .ade20k import Ade20k
from .camvid import CamVid
from .camvid_original import CamVidOriginal
from .cityscapes import Cityscapes
from .coco import Coco
from .coco_panoptic import CocoPanoptic
from .cvat import Cvat
from .exports import EXPORTS
from .folder import Folder
from .format import Format
from .huggingface import HuggingFace
from .kaggle import Kaggle, KaggleRows
from .label_studio import LabelStudio
from .labelme import Labelme
from .listed import Listed
from .pascal_context import PascalContext
from .supervisely import Supervisely
from .via import Via
from .voc import Voc
from .yolo import Yolo

# The first that matches a folder and reads the task is the one detected.
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Cityscapes(),
        CamVidOriginal(),
        CamVid(),
        Ade20k(),
        PascalContext(),
        *EXPORTS,
        CocoPanoptic(),  # first: it labels every pixel, where the objects of the same images leave a background
        Coco(),
        Voc(),
        Supervisely(),
        Cvat(),
        LabelStudio(),
        Via(),
        Labelme(),
        Yolo(),
        Listed(),
        Folder(),
        Kaggle(),
        KaggleRows(),
        HuggingFace(),  # last: tables may lie beside the files of any other layout
    )
}

__all__ = ["FORMATS", "Format"]
