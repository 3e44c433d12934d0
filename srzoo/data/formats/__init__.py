"""The readers by name. Imports no torch."""

from __future__ import annotations

from . import ade20k, camvid, camvid_original, cityscapes, coco, folder, huggingface, pascal_context

# Each has LAYOUT, matches(root) and read(root, split); the first that matches is the one detected.
FORMATS = {
    module.__name__.rpartition(".")[2]: module
    for module in (cityscapes, camvid_original, camvid, ade20k, pascal_context, coco, huggingface, folder)
}
