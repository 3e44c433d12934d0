"""Where the direct form of the block is the faster one: both forms by channels and by pixels per channel.

    python bench/dispatch.py [--repeats 15] [--threads 2] [--device cpu]

Writes ``bench/results/dispatch.csv``, or ``dispatch_gpu.csv`` for a GPU. *matrices* is gram -> reason -> affine, and
*direct* computes the reduced maps. `SqueezeReasoning.forward` takes the direct form below 4 pixels per channel. Results
are compared before anything is timed; the forms run in turn, and the ratio is the median of those of each round.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import torch
from paired import ROOT, machine, measuring, median_ratio, paired_times, results_file, told, write_csv
from torch import nn

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.layers import SqueezeReasoning, squeeze_reasoning

CHANNELS = (64, 128, 256, 512, 1024, 2048)
SHARES = (0.25, 0.5, 1, 2, 4, 8, 16)  # pixels per channel
_LARGEST = 1 << 24  # values of a map


def forms(module: SqueezeReasoning, x: torch.Tensor) -> dict[str, object]:
    """The two forms, each as a call."""

    def run(few: float):
        def call() -> torch.Tensor:
            squeeze_reasoning._FEW = few
            with torch.inference_mode():
                return module(x)

        return call

    return {"matrices": run(0), "direct": run(1e9)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[measuring(15)])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for channels in CHANNELS:
        torch.manual_seed(0)
        module = SqueezeReasoning(channels).to(options.device).eval()
        nn.init.normal_(module.project.weight, std=0.02)
        for share in SHARES:
            width = max(1, round((channels * share) ** 0.5))
            height = max(1, round(channels * share / width))
            if channels * height * width > _LARGEST:
                continue
            x = torch.randn(1, channels, height, width, device=options.device)
            x = x.contiguous(memory_format=torch.channels_last)
            sides = forms(module, x)
            torch.testing.assert_close(sides["direct"](), sides["matrices"](), rtol=1e-3, atol=1e-3)
            times = paired_times(sides, options.repeats, options.device)
            rows.append(
                {
                    "channels": channels,
                    "height": height,
                    "width": width,
                    "pixels_per_channel": round(height * width / channels, 3),
                    **{f"{side}_ms": round(1e3 * statistics.median(each), 4) for side, each in times.items()},
                    "direct_over_matrices": round(median_ratio(times["direct"], times["matrices"]), 3),
                    **machine(options.device, options.threads, options.repeats),
                }
            )
            print(*list(rows[-1].values())[:7], flush=True)
    write_csv(rows, results_file("dispatch", options.device))


if __name__ == "__main__":
    told(main)
