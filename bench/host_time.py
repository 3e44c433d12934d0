"""Host time of an operator's call and of the block on a driver that launches nothing: what Python costs, without a GPU.

    python bench/host_time.py [--repeats 15] [--calls 100] [--no-csv]

Writes ``bench/results/host_time.csv``. Kernels are compiled for an H100 and not launched, so a row is the time of the
CPU thread from the call to the last launch, without the driver's own part of a launch (about 3 us on a GPU). PyTorch's
own operations run on the CPU, on maps so small that they cost little more than a launch. Times are in microseconds, and
mean something only if nothing else runs beside them.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from paired import RESULTS, ROOT, machine, measuring, write_csv
from torch import nn

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from srzoo.layers import SqueezeReasoning
from srzoo.layers import squeeze_reasoning as block_module
from srzoo.models.folded_block import FoldedBlock
from srzoo_kernels import channel_affine, gram, graph_reason, upsample_argmax, upsample_cross_entropy
from srzoo_kernels.idle_driver._triton import IdleDriver, idle_driver

CHANNELS, HEIGHT, WIDTH = 64, 8, 16
CLASSES, STRIDE = 19, 8


def block_of(channels: int) -> nn.Module:
    """The block in float16, in the form that large maps take."""
    torch.manual_seed(0)
    return SqueezeReasoning(channels).half().eval()


def step_of(function: Callable, x: torch.Tensor) -> None:
    """One step of training through a layer: the layer, and its backward with ``x`` as the gradient."""
    function(x.detach().requires_grad_()).backward(x)


def loss_with_gradient(logits: torch.Tensor, target: torch.Tensor, **options) -> None:
    """One step of a training loop from the logits on: the loss and its backward."""
    logits.grad = None
    upsample_cross_entropy(logits, target, **options).backward()


def calls() -> dict[str, Callable[[], object]]:
    """Each call by name."""
    x = torch.zeros(1, CHANNELS, HEIGHT, WIDTH, dtype=torch.float16)
    matrix = torch.zeros(1, CHANNELS, CHANNELS, dtype=torch.float16)
    small = x[:, :, :1, :2].contiguous()  # a CPU multiplies float16 slowly: 8 pixels would take longer than a launch
    block = block_of(CHANNELS)
    folded = FoldedBlock(block, nn.Conv2d(CHANNELS, 1, 1).half())
    trained = SqueezeReasoning(CHANNELS)  # in float32 beside a map of float16, as autocast has it
    half = block_of(CHANNELS).train()
    g = torch.zeros(1, CHANNELS // 2, dtype=torch.float16)
    adjacency, weight = block.reasoning.adjacency, block.reasoning.weight
    logits = torch.zeros(1, CLASSES, HEIGHT, WIDTH, dtype=torch.float16)
    size = (STRIDE * HEIGHT, STRIDE * WIDTH)
    leaf = logits.clone().requires_grad_()
    target = torch.zeros(1, *size, dtype=torch.int64)
    return {
        "torch.empty_like": lambda: torch.empty_like(x),
        "torch.add, out of place": lambda: torch.add(g, g),
        "gram": lambda: gram(x),
        "channel_affine": lambda: channel_affine(x, matrix),
        "graph_reason": lambda: graph_reason(g, adjacency, weight),
        "upsample_argmax": lambda: upsample_argmax(logits, size),
        "torch.bmm, as the block ends with": lambda: torch.bmm(matrix, small.flatten(2)),
        "SqueezeReasoning.forward": lambda: block(small),
        "SqueezeReasoning, forward + backward": lambda: step_of(trained, small),
        "the same by the operators of its steps, forward + backward": lambda: step_of(
            lambda x: trained(x, trained.moments(x)), small
        ),
        "the same by its equations, forward + backward": lambda: step_of(half.forward_direct, small),
        "FoldedBlock.forward, with a convolution of one channel": lambda: folded(x),
        "upsample_cross_entropy, forward": lambda: upsample_cross_entropy(logits, target),
        "upsample_cross_entropy, forward + backward": lambda: loss_with_gradient(leaf, target),
        "upsample_cross_entropy, mined, forward + backward": lambda: loss_with_gradient(leaf, target, ohem=(0.7, 9)),
    }


def microseconds(call: Callable[[], object], calls: int, repeats: int) -> list[float]:
    """CPU time of one of ``calls`` calls in a row, for each repeat."""
    for _ in range(5):
        call()
    gc.collect()
    gc.disable()
    try:
        times = []
        for _ in range(repeats):
            began = time.thread_time()
            for _ in range(calls):
                call()
            times.append(1e6 * (time.thread_time() - began) / calls)
    finally:
        gc.enable()
    return times


def rows(idle: IdleDriver, options) -> Iterator[dict[str, object]]:
    for name, call in calls().items():
        training = name.endswith("backward")
        with torch.inference_mode(not training):
            call()
            before = idle.count
            call()
            launches = idle.count - before
            times = microseconds(call, options.calls, options.repeats)
        yield {
            "what": name,
            "triton_launches": launches,
            "best_us": round(min(times), 1),
            "median_us": round(statistics.median(times), 1),
        } | machine("cpu", 1, options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], parents=[measuring(15, threads=None, device=None)]
    )
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--no-csv", action="store_true", help="print only, e.g. beside other work")
    options = parser.parse_args()
    torch.set_num_threads(1)
    block_module._FEW = 0  # the maps here stand for larger ones
    found = []
    with idle_driver() as idle:
        for row in rows(idle, options):
            found.append(row)
            print(f"{row['best_us']:8} {row['median_us']:8} {row['triton_launches']:3} {row['what']}", flush=True)
    if not options.no_csv:
        write_csv(found, RESULTS / "host_time.csv")


if __name__ == "__main__":
    main()
