"""Detectors of other projects: their files as srzoo's networks."""
