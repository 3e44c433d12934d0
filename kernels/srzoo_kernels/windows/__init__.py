"""Windows of an image, whose pixels lie in one flat buffer: what `paste_masks` writes and `panoptic_merge` reads."""
