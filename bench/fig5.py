"""Draw Fig. 5 of the paper, the most salient channel of each node: python bench/fig5.py [--model NAME] [IMAGE ...]

Writes ``bench/results/fig5.png``, the eight nodes that the reasoning moves most, and prints what the block does.
"""

from __future__ import annotations

import argparse

from paired import RESULTS, ROOT, told
from PIL import Image

import srzoo


def stacked(pictures: list[Image.Image]) -> Image.Image:
    """Pictures below each other."""
    sheet = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), "white")
    top = 0
    for each in pictures:
        sheet.paste(each, (0, top))
        top += each.height
    return sheet


def parser(description: str) -> argparse.ArgumentParser:
    """The options that this figure and Fig. 6(b) have."""
    options = argparse.ArgumentParser(description=description.splitlines()[0])
    options.add_argument("images", nargs="*", default=[str(ROOT / "examples" / "facade.jpg")], metavar="IMAGE")
    options.add_argument("--model", default="srnet_lite0_facade", help="a name with weights, or a .safetensors file")
    return options


def explained(model: str, images: list[str]) -> list[srzoo.Explanation]:
    """The explanations of images, each printed as a line."""
    network = srzoo.Segmenter(model, device="cpu").model
    found = [srzoo.explain(network, image) for image in images]
    for image, each in zip(images, found):
        print(f"{image}: {each!r}")
    return found


def main() -> None:
    options = parser(__doc__).parse_args()
    stacked([each.nodes_picture() for each in explained(options.model, options.images)]).save(RESULTS / "fig5.png")


if __name__ == "__main__":
    told(main)
