"""Serve a page in the browser to try models on."""

from __future__ import annotations

import argparse

from ..messages import importing
from .arguments import path_argument
from .startup import heavy_imports

_LAST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names or .safetensors files to offer, besides the models whose weights ship",
    )
    parser.add_argument(
        "--examples",
        type=path_argument,
        metavar="DIR",
        help="folder of images to try (default: examples, where there is one)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (default: %(default)s, this machine)")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from ..zoo.published import PUBLISHED
    from .inputs import find_images

    if not 1 <= options.port <= _LAST_PORT:
        raise ValueError(f"--port must be from 1 to {_LAST_PORT}, got {options.port}")
    found = find_images([str(options.examples or "examples")])
    if found.failures and options.examples:
        raise ValueError(found.failures[0])
    with heavy_imports():
        with importing("the page needs", "'srzoo[demo]'"):
            from ..demo.page import make_page, serve
        from ..predict import Segmenter
    for name in options.model:
        Segmenter(name, options.device)  # an error now, not when somebody has dropped an image
    models = list(dict.fromkeys([*options.model, *PUBLISHED]))
    page = make_page(models, list(found.images), options.device)
    serve(page, options.host, options.port)
    print(f"http://{options.host}:{options.port}   (Ctrl-C ends it)", flush=True)
    page.block_thread()
    return 0
