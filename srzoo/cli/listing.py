"""List the models."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..zoo.info import ModelInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'srnet_r*' (default: all)")
    parser.add_argument("--pretrained", action="store_true", help="only models with weights")
    parser.add_argument("--json", action="store_true", help="print them as JSON, for programs")


def run(options: argparse.Namespace) -> int:
    from ..zoo.info import list_models, model_info

    names = list_models(options.pattern, options.pretrained)
    if not names:
        print(f"srzoo: no model matches {options.pattern!r}; `srzoo list` shows all", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([_facts(model_info(name)) for name in names], indent=2))
        return 0
    width = max(map(len, names))
    for name in names:
        info = model_info(name)
        what = f"{len(info.classes)} classes" if info.classes else "any number of classes"
        print(f"{name:{width}}  {what:21}  {headline(info)}")
    return 0


def _facts(info: ModelInfo) -> dict[str, Any]:
    """What a line says of a model, as values that JSON can hold."""
    return {
        "name": info.name,
        "task": info.task,
        "classes": len(info.classes) or None,
        "figures": info.metrics["figures"] if info.metrics else None,
        "weights": "shipped" if info.weights else "downloaded" if info.download else None,
    }


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
