"""Train a model by a recipe; a run that was stopped goes on from its checkpoint."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", required=True, help="name of a recipe in the package, or a YAML file")
    parser.add_argument("--data.root", dest="root", required=True, metavar="PATH", help="folder of the data set")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/<recipe>)")
    parser.add_argument("--workers", type=int, default=1, help="processes that load images (default: %(default)s)")
    parser.add_argument("--backbone", default=True, metavar="FILE", help="ImageNet weights of the backbone as a file")


def run(options: argparse.Namespace) -> int:
    from ..train.recipe import load_recipe

    recipe = load_recipe(options.recipe)
    try:
        from ..train.loop import train
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs the package {error.name!r}: pip install 'srzoo[train]'") from error
    out = options.out or Path("runs") / Path(options.recipe).stem
    miou = train(recipe, options.root, out, options.workers, options.backbone)
    print(f"val mIoU {miou:.2%}; the model is {out / 'model.safetensors'}")
    return 0
