"""Draw Fig. 6(b) of the paper, input and output of the block by PCA: python bench/fig6b.py [--model NAME] [IMAGE ...]

Writes ``bench/results/fig6b.png``. Both maps are projected by one PCA, so equal colours are equal features.
"""

from __future__ import annotations

from fig5 import explained, parser, stacked
from paired import RESULTS, told


def main() -> None:
    options = parser(__doc__).parse_args()
    stacked([each.features_picture() for each in explained(options.model, options.images)]).save(RESULTS / "fig6b.png")


if __name__ == "__main__":
    told(main)
