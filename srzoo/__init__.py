"""srzoo: a model zoo for Squeeze Reasoning (SRNet, arXiv 2011.03308)."""

__version__ = "0.1.0"
