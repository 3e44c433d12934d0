"""Describe a model: size, cost, classes, licences, and figures with their protocol."""

import argparse

from .outputs import percent
from .startup import heavy_imports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a name from `srzoo list`")


def run(options: argparse.Namespace) -> int:
    from ..zoo.info import model_info

    info = model_info(options.name)
    rows = [("name", info.name), ("", info.description)]
    with heavy_imports():
        counted = info.parameters
    height, width = info.input_size
    if counted is not None:
        rows.append(("parameters", f"{counted / 1e6:.2f} M"))
        rows.append(("multiply-adds", f"{info.macs / 1e9:.2f} G at {width}x{height}"))
    rows.append(("input", f"short side {info.transform.short_side}, at most {info.transform.max_pixels:,} pixels"))
    rows.append(("classes", ", ".join(info.classes) or "any number: pass num_classes"))
    rows += [("licence" if i == 0 else "", line) for i, line in enumerate(info.licence)]
    if info.recipe:
        run = "" if info.weights else "   (not run yet)"
        rows.append(("recipe", f"srzoo train --recipe {info.recipe} --data.root PATH{run}"))
    if info.weights:
        for receipt in info.weights.receipts():
            rows += metric_rows(receipt, info.weights.repeats(receipt))
    elif info.download:
        rows.append(("weights", f"of {info.download.project}, not measured here: {info.download.address}"))
        rows.append(("", f"downloaded once to {info.download.path}"))
    else:
        rows.append(("weights", "none published"))
    print("\n".join(f"{key:14} {value}" for key, value in rows))
    return 0


def metric_rows(receipt: dict, repeats: list[dict]) -> list[tuple[str, str]]:
    """A receipt as rows: the figures, those of other seeds, the protocol, the figures of classes, and the command."""
    headline = receipt["headline"]
    others = {name: value for name, value in receipt["figures"].items() if name != headline}
    measured_on = f"{receipt['dataset']} {receipt['split']} ({receipt['images']} images)"
    return [
        (headline, f"{percent(receipt['figures'][headline])} on {measured_on}"),
        *(
            ("trained again", f"{percent(each['figures'][headline])} with {_differences(receipt, each)}")
            for each in repeats
        ),
        ("protocol", receipt["protocol"]),
        *((name, percent(value)) for name, value in others.items()),
        *(
            (f"{name} by class", ", ".join(f"{each} {percent(value, 1)}" for each, value in values.items()))
            for name, values in receipt["by_class"].items()
        ),
        ("counted with", ", ".join(f"{name} {value:,}" for name, value in receipt["facts"].items())),
        ("measured by", receipt["command"]),
    ]


def _differences(receipt: dict, repeat: dict) -> str:
    """The seed of a repeated training, and the keys of its recipe that differ from the published one."""
    from ..recipes.recipe import Recipe, load_recipe

    published, own = load_recipe(receipt["recipe"]).flat(), Recipe.from_dict(repeat["recipe"]).flat()
    changed = [f"{key} {own[key]}" for key in published if key != "seed" and own[key] != published[key]]
    return ", ".join([f"seed {repeat['seed']}", *changed])
