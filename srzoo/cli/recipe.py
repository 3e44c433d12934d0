"""Print a recipe with all of its keys, as a YAML file to start one's own from."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="NAME",
        help="a model with its dataset, such as srnet_lite0_camvid; a dataset, such as cityscapes, with "
        "--model; a YAML file; or the model file of a run, whose recipe is printed as it was",
    )
    parser.add_argument("--model", metavar="NAME", help="the model, which the recipe of a dataset does not name")


def run(options: argparse.Namespace) -> int:
    from ..recipes.recipe import load_recipe
    from ..zoo.weights import is_model_file, read_run_recipe

    named = {} if options.model is None else {"model": options.model}
    if is_model_file(options.source):
        if named:
            raise ValueError(f"{options.source} holds the recipe of its model; leave --model {options.model} out")
        text = read_run_recipe(options.source)
        if text is None:
            raise ValueError(f"{options.source} holds no recipe; only files that `srzoo train` has written do")
    else:
        text = load_recipe(options.source, **named).to_yaml()
    print(text, end="" if text.endswith("\n") else "\n")
    return 0
