"""Publish a model in a repository of a model hub, with a model card made from its receipts."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from ..messages import visible
from .arguments import path_argument
from .outputs import output_folder
from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="FILE", help="one of srzoo's .safetensors files, or a name from `srzoo list --pretrained`"
    )
    parser.add_argument("repository", metavar="OWNER/NAME", help="the repository, which is made if it does not exist")
    parser.add_argument(
        "--receipt",
        type=path_argument,
        metavar="FILE",
        help="file of `srzoo eval --receipt`, for the figures of the model card",
    )
    parser.add_argument("--image", metavar="PATH", help="image that the card shows beside the model's result")
    parser.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="TEXT",
        help="terms of what the model was trained on, for the card; may be given several times",
    )
    parser.add_argument("--private", action="store_true", help="make a private repository")
    parser.add_argument(
        "--to",
        type=path_argument,
        metavar="DIR",
        help="write the repository's files to this new folder, and send nothing",
    )


def run(options: argparse.Namespace) -> int:
    with heavy_imports():
        from ..hub.push import push_to_hub, write_repository
        from ..zoo.remote import split_hub_name

    content = {"receipt": options.receipt, "image": options.image, "licences": options.licence}
    if options.to is None:
        address = push_to_hub(options.source, options.repository, private=options.private, **content)
        print(f"{visible(options.source)} -> {visible(address)}")
        return 0
    if options.to.exists() and (not options.to.is_dir() or any(options.to.iterdir())):
        raise ValueError(f"--to {options.to} has files in it; name a new folder")
    name = split_hub_name(options.repository)[0]
    existed = options.to.exists()
    with output_folder(options.to, "--to"):
        try:
            with tempfile.TemporaryDirectory(prefix=".", dir=options.to) as folder:
                write_repository(options.source, name, Path(folder), **content)
                for path in Path(folder).iterdir():
                    path.replace(options.to / path.name)
        except BaseException:  # a part of a repository would be in the way of the next call
            if not existed:
                shutil.rmtree(options.to, ignore_errors=True)
            raise
    print(f"{visible(options.source)} -> {visible(str(options.to))}")
    return 0
