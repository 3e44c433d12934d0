"""Print a recipe with all of its keys, as a YAML file to start one's own from."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="NAME",
        help="a model with its dataset, such as srnet_lite0_camvid; a dataset, such as cityscapes; a YAML file; or the "
        "model file of a run, whose recipe is printed as it was",
    )


def run(options: argparse.Namespace) -> int:
    from ..recipes.recipe import load_recipe
    from ..zoo.weights import is_model_file, read_run_recipe

    if is_model_file(options.source):
        text = read_run_recipe(options.source)
        if text is None:
            raise ValueError(f"{options.source} holds no recipe; only files that `srzoo train` has written do")
    else:
        text = load_recipe(options.source).to_yaml()
    print(text, end="" if text.endswith("\n") else "\n")
    return 0
