"""Time of convolutions with what follows them, by layers of the shipped networks, on a GPU.

    python bench/convolutions.py [--repeats 15] [--device cuda]

Writes ``bench/results/convolutions_gpu.csv``. *alone* is the library's convolution without a bias, *library* the same
with a bias, the residual and the activation, *srzoo* `conv2d_act`, in float16 and channels_last, each called and as the
replay of a CUDA graph, with three maps in turn. Results are compared before anything is timed. ``--device cpu`` with
small maps shows only that the script runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import NamedTuple

import torch
from paired import ROOT, machine, measuring, median_ratio, results_file, timed, told, write_csv

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo_kernels import conv2d_act
from srzoo_kernels.conv2d_act.reference import conv2d_act as library


class Layer(NamedTuple):
    """A convolution of a network at 1024x2048: padded on both sides, square."""

    network: str
    channels: int
    outputs: int  # 0: one filter for each channel
    kernel: int
    stride: int
    dilation: int
    side: tuple[int, int]
    activation: str
    residual: bool = False


LAYERS = [
    Layer("lite0", 32, 0, 3, 1, 1, (512, 1024), "relu6"),
    Layer("lite0", 96, 0, 3, 2, 1, (512, 1024), "relu6"),
    Layer("lite0", 144, 0, 5, 2, 1, (256, 512), "relu6"),
    Layer("lite0", 240, 0, 5, 1, 1, (128, 256), "relu6"),
    Layer("lite0", 672, 0, 5, 1, 1, (64, 128), "relu6"),
    Layer("lite0", 1152, 0, 5, 1, 2, (64, 128), "relu6"),
    Layer("lite0", 1152, 0, 3, 1, 2, (64, 128), "relu6"),
    Layer("lite0", 16, 96, 1, 1, 1, (512, 1024), "relu6"),
    Layer("lite0", 192, 1152, 1, 1, 1, (64, 128), "relu6"),
    Layer("lite0", 1152, 192, 1, 1, 1, (64, 128), "identity"),
    Layer("dfnet", 128, 128, 3, 1, 1, (64, 128), "relu", True),
    Layer("dfnet", 256, 256, 3, 1, 1, (32, 64), "relu", True),
    Layer("resnet", 3, 64, 3, 2, 1, (1024, 2048), "relu"),
    Layer("resnet", 64, 128, 3, 1, 1, (512, 1024), "relu"),
    Layer("resnet", 256, 256, 3, 1, 2, (128, 256), "relu"),
    Layer("resnet", 512, 512, 3, 1, 4, (128, 256), "relu"),
    Layer("resnet", 512, 512, 3, 1, 8, (128, 256), "relu"),
    Layer("resnet", 512, 512, 3, 1, 16, (128, 256), "relu"),
    Layer("resnet", 2048, 512, 3, 1, 1, (128, 256), "relu"),
    Layer("resnet", 256, 1024, 1, 1, 1, (128, 256), "relu", True),
    Layer("resnet", 512, 2048, 1, 1, 1, (128, 256), "relu", True),
    Layer("resnet", 1024, 2048, 1, 1, 1, (128, 256), "identity"),
]


def rows_of(layer: Layer, options: argparse.Namespace):
    """Yield a row for each side and way of a layer.

    Raises:
        AssertionError: the results differ by more than rounding.
    """
    on_gpu = options.device != "cpu"
    dtype = torch.float16 if on_gpu else torch.float32
    height, width = layer.side if on_gpu else (layer.side[0] // 16, layer.side[1] // 16)
    k, depthwise = layer.kernel, not layer.outputs
    torch.manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        x = torch.randn(*shape, device=options.device, dtype=dtype)
        return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x

    outputs = layer.outputs or layer.channels
    weight = drawn(k, k, layer.channels) if depthwise else drawn(outputs, layer.channels, k, k)
    weight, bias = weight / (k * k * (1 if depthwise else layer.channels)) ** 0.5, drawn(outputs)
    around = layer.dilation * (k // 2)
    maps = [drawn(1, layer.channels, height, width) for _ in range(3)]
    square = {"stride": (layer.stride,) * 2, "padding": (around,) * 4, "dilation": (layer.dilation,) * 2}
    residual = drawn(*library(maps[0], weight, **square).shape) if layer.residual else None
    sides = {
        "alone": lambda x: library(x, weight, **square),
        "library": lambda x: library(x, weight, bias, layer.activation, residual, **square),
        "srzoo": lambda x: conv2d_act(x, weight, bias, layer.activation, residual, **square),
    }
    with torch.inference_mode():
        found, expected = (sides[side](maps[0]).float() for side in ("srzoo", "library"))
        assert (found - expected).norm() < 2e-3 * expected.norm(), layer
        calls = {side: [lambda x=x, call=call: call(x) for x in maps] for side, call in sides.items()}
        for way, times in timed(calls, options.repeats, options.device):
            for side, values in times.items():
                yield {
                    **layer._asdict(),
                    "side": f"{height}x{width}",
                    "by": side,
                    "way": way,
                    "us": round(1e6 * statistics.median(values), 1),
                    "time_over_library": round(median_ratio(values, times["library"]), 4),
                    **machine(options.device, torch.get_num_threads(), options.repeats),
                }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], parents=[measuring(15, threads=None, device="cuda")]
    )
    options = parser.parse_args()
    rows = []
    for layer in LAYERS:
        for row in rows_of(layer, options):
            rows.append(row)
            print(*list(row.values())[:13], flush=True)
        if options.device != "cpu":
            write_csv(rows, results_file("convolutions", options.device))


if __name__ == "__main__":
    told(main)
