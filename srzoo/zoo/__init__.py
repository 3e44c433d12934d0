"""Names: which models there are, and how one is built, saved and loaded."""
