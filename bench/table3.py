"""Table 3 of the paper, counted: parameters and multiply-adds of the backbone and of every context module.

The rows after it are the real-time models of Table 6 with 19 classes, and their backbones, at 1024x2048.

    python bench/table3.py

Writes ``bench/results/table3.csv`` and prints it. The figures are counted on the meta device by
``torch.utils.flop_counter`` (two operations per multiply-add), for an image of 768x768 and a map of 96x96. As in the
paper, ASPP and PSP follow the backbone, and the other modules are added to "+2 * 3x3". *Executed* counts ``forward``,
which may multiply less than the equations. A figure agrees if it rounds to the printed one, or is within 1 % of it
(parameters) or 2 % (multiply-adds). A row that does not agree has a reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import timm
import torch
from counting import multiply_adds
from paired import RESULTS, ROOT, machine, write_csv
from torch import nn

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo import create_model
from srzoo.layers import build_context


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: as in the paper.
        build: returns the module.
        shape: of its input.
        parameters: as printed, in 10^6.
        multiply_adds: as printed, in 10^9; empty for Table 6, which has none.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    parameters: str
    multiply_adds: str = ""


IMAGE, FEATURE, MAP, FRAME = (1, 3, 768, 768), (1, 2048, 96, 96), (1, 512, 96, 96), (1, 3, 1024, 2048)


def _model() -> nn.Module:
    return create_model("srnet_r50", num_classes=19, context="none")


def _over_backbone(name: str, context: str, width: int, *printed: str) -> Row:
    return Row(name, lambda: build_context(context, FEATURE[1], out_channels=width), FEATURE, *printed)


def _between(name: str, context: str, *printed: str, **options) -> Row:
    return Row(name, lambda: build_context(context, MAP[1], **options), MAP, *printed)


def _real_time(name: str, entry: str, printed: str) -> Row:
    return Row(name, lambda: create_model(f"{entry}_cityscapes"), FRAME, printed)


def _backbone(name: str, printed: str) -> Row:
    return Row(name, lambda: timm.create_model(name, num_classes=0), FRAME, printed)


ROWS = (
    Row("dilated FCN", lambda: _model().backbone, IMAGE, "23.63", "241.05"),
    _over_backbone("+ASPP", "aspp", 256, "15.54", "148.37"),
    _over_backbone("+PSP", "psp", 512, "23.07", "174.09"),
    Row("+2 * 3x3", lambda: _model().head, FEATURE, "11.80", "108.74"),
    _between("+SE", "se", "0.03", "0.00947"),
    _between("+NL", "nl", "0.53", "48.36"),
    _between("+A2Net", "a2", "0.53", "4.94"),
    _between("+CGNL", "cgnl", "0.53", "4.91"),
    _between("+RCCA", "rcca", "0.53", "11.55"),
    _between("+EMAU", "ema", "0.54", "6.97"),
    _between("+SR (GAP)", "sr", "0.26", "2.43", squeeze="average"),
    _between("+SR (GHP)", "sr", "0.40", "3.64"),
    _backbone("dfnet_v1", "8.020"),
    _backbone("dfnet_v2", "17.474"),
    _real_time("DFv1", "dfseg_v1", "9.37"),
    _real_time("DFv2", "dfseg_v2", "18.83"),
    _real_time("SRNet(DFv2)", "srnet_dfv2", "18.87"),
)

# Why a figure does not agree with the paper's.
BECAUSE = {
    "+ASPP": "15.54 M weights, each used once per pixel, make at most 143.2 G, so 148.37 G cannot be this module; "
    "here the weights of the pooled image are used once per image",
    "+SE": "only products are counted; one operation per element for pooling and one for scaling would give 9.47 M",
    "+EMAU": "its convolutions, biases and norm have 0.526 M, its bases, a buffer, 0.033 M; no sum of these is 0.54 M",
    "+SR (GHP)": "the paper's equations have 0.394 M; the released block, with its norms, 0.396 M",
}

LINE = "{:12}{:>9}{:>9}{:>8}{:>11}{:>11}{:>8}{:>11}  {}"


def agrees(ours: float, printed: str, tolerance: float) -> bool:
    """Whether srzoo's figure rounds to the printed one, or is within the relative tolerance of it."""
    digits = len(printed.partition(".")[2])
    return round(ours, digits) == float(printed) or abs(ours / float(printed) - 1) <= tolerance


def count(row: Row) -> dict[str, object]:
    """The CSV row of a module."""
    with torch.device("meta"):
        module = row.build().eval()
    parameters = sum(p.numel() for p in module.parameters()) / 1e6
    straightforward = multiply_adds(getattr(module, "forward_direct", module), row.shape)
    agreement = agrees(parameters, row.parameters, 0.01)
    if row.multiply_adds:
        agreement = agreement and agrees(straightforward, row.multiply_adds, 0.02)
    return {
        "row": row.name,
        "parameters_paper_m": row.parameters,
        "parameters_m": round(parameters, 4),
        "parameters_ratio": round(parameters / float(row.parameters), 4),
        "multiply_adds_paper_g": row.multiply_adds,
        "multiply_adds_g": round(straightforward, 6),
        "multiply_adds_ratio": round(straightforward / float(row.multiply_adds), 4) if row.multiply_adds else "",
        "executed_g": round(multiply_adds(module, row.shape), 6),
        "agrees": agreement,
        "because": BECAUSE.get(row.name, ""),
    }


def counts() -> Iterator[dict[str, object]]:
    """Yield the CSV rows.

    Raises:
        AssertionError: a row does not agree and has no reason, or agrees and has one.
    """
    for row in ROWS:
        line = count(row)
        if line["agrees"] == bool(line["because"]):
            raise AssertionError(f"a row has a reason exactly if it does not agree, got {line}")
        yield line


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()  # it has no options
    kept = {key: value for key, value in machine("cpu", 1, 1).items() if key in ("python", "torch", "timm", "commit")}
    lines = list(counts())
    print(LINE.format("", "M, paper", "M", "ratio", "G, paper", "G", "ratio", "executed", ""))
    for line in lines:
        print(LINE.format(*list(line.values())[:8], line["because"]))
    write_csv([line | kept for line in lines], RESULTS / "table3.csv")


if __name__ == "__main__":
    main()
