"""List the models."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..zoo.info import ModelInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'srnet_r*' (default: all)")
    parser.add_argument("--pretrained", action="store_true", help="only models with weights")


def run(options: argparse.Namespace) -> int:
    from ..zoo.info import list_models, model_info

    names = list_models(options.pattern, options.pretrained)
    if not names:
        print(f"srzoo: no model matches {options.pattern!r}; `srzoo list` shows all", file=sys.stderr)
        return 2
    width = max(map(len, names))
    for name in names:
        info = model_info(name)
        what = f"{len(info.classes)} classes" if info.classes else "any number of classes"
        print(f"{name:{width}}  {what:21}  {headline(info)}")
    return 0


def headline(info: ModelInfo) -> str:
    """The headline figure of a model with published weights, with its split; or whose weights are downloaded."""
    if info.metrics:
        headline = info.metrics["headline"]
        receipts = info.weights.by_split().values()
        figures = ", ".join(f"{each['figures'][headline]:.1%} on {each['split']}" for each in receipts)
        return f"weights ship, {headline} {figures} (single scale)"
    if info.download:
        return f"weights of {info.download.project} are downloaded, not measured here"
    return "no published weights"
