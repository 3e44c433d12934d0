"""Readers, augmentation, label maps and palettes."""
