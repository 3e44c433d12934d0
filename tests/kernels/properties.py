"""Hypothesis; where it is not installed, as on a machine that only measures, the tests by it are skipped alone."""

from unittest.mock import MagicMock

import pytest

try:
    from hypothesis import given, settings
    from hypothesis import strategies as st
except ImportError:
    st, settings = MagicMock(), lambda **options: lambda test: test

    def given(*strategies, **by_name):
        return pytest.mark.skip(reason="hypothesis is not installed")


__all__ = ["given", "settings", "st"]
