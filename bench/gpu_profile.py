"""Where the time of the operators, the block and the models goes on a GPU: host per call, kernels, variants.

    python bench/gpu_profile.py [host] [operators] [training] [models] [--small] [--device cuda] [--out FILE]

Writes a CSV, by default ``bench/results/gpu_profile.csv``, whose rows of other parts stay. *enqueue* is the host's time
of a call that nothing waits for, *called* and *replayed* the GPU's for a call and for a CUDA graph of it, *kernels*
their sum by ``torch.profiler`` and *launches* their number. Maps are taken in turn, since the cache would hold a single
one. A part that fails is told of, and the others run. ``--small`` and ``--device cpu`` show only that the script runs,
and write nothing without ``--out``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from paired import RESULTS, ROOT, device_argument, machine, replayed, told, update_csv
from torch import nn
from torch.nn import functional as F

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import srzoo
from srzoo.layers import SqueezeReasoning
from srzoo.models.conv_act import ConvAct
from srzoo.models.folded_block import FoldedBlock
from srzoo_kernels import channel_affine, gram, upsample_argmax, upsample_cross_entropy

MAPS = 3  # taken in turn
ROWS_OF_PROFILE = 20


class Profile:
    """The parts of the profile; each yields ``(name, what, value, unit)``."""

    def __init__(self, options: argparse.Namespace):
        self.device, self.small = options.device, options.small
        self.on_gpu = options.device != "cpu"
        self.half = torch.float16 if self.on_gpu else torch.float32
        self.side = (16, 32) if options.small else (128, 256)

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def enqueue(self, call: Callable[[], object], calls: int = 200, rounds: int = 7) -> float:
        """Host microseconds of a call; the queue is drained between rounds, so that it never fills."""
        calls = calls if self.on_gpu else 3
        times = []
        for _ in range(5):
            call()
        for _ in range(rounds):
            self.synchronize()
            began = time.perf_counter()
            for _ in range(calls):
                call()
            times.append((time.perf_counter() - began) / calls)
        self.synchronize()
        return 1e6 * min(times)

    def elapsed(self, call: Callable[[], object], calls: int = 30, rounds: int = 7) -> float:
        """Microseconds of a call, by the GPU's clock: the median over rounds of calls in a row."""
        if not self.on_gpu:
            began = time.perf_counter()
            call()
            return 1e6 * (time.perf_counter() - began)
        for _ in range(3):
            call()
        times = []
        for _ in range(rounds):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(calls):
                call()
            end.record()
            end.synchronize()
            times.append(1e3 * start.elapsed_time(end) / calls)
        return statistics.median(times)

    def replay(self, call: Callable[[], object]) -> Callable[[], object]:
        return replayed(call) if self.on_gpu else call

    def kernels(self, name: str, call: Callable[[], object], calls: int = 5) -> Iterator[tuple]:
        """Each kernel's microseconds and launches in a call."""
        for _ in range(3):
            call()
        self.synchronize()
        activities = [torch.profiler.ProfilerActivity.CPU]
        activities += [torch.profiler.ProfilerActivity.CUDA] if self.on_gpu else []
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(calls):
                call()
            self.synchronize()
        kind = torch.autograd.DeviceType.CUDA if self.on_gpu else torch.autograd.DeviceType.CPU
        found = [each for each in profile.key_averages() if each.device_type == kind]

        def cost(each) -> float:
            return (each.self_device_time_total if self.on_gpu else each.self_cpu_time_total) / calls

        yield name, "kernels", sum(map(cost, found)), "us"
        yield name, "launches", sum(each.count for each in found) / calls, ""
        for each in sorted(found, key=cost, reverse=True)[:ROWS_OF_PROFILE]:
            yield name, f"{each.count / calls:.0f}x {each.key[:60]}", cost(each), "us"

    def block(self, dtype: torch.dtype, channels: int = 512) -> SqueezeReasoning:
        torch.manual_seed(0)
        block = SqueezeReasoning(channels).eval()
        nn.init.normal_(block.project.weight, std=0.02)
        return block.to(self.device, dtype)

    def maps(self, shape: tuple[int, ...], dtype: torch.dtype, count: int = MAPS) -> list[torch.Tensor]:
        return [torch.randn(shape).relu().to(self.device, dtype) for _ in range(count)]

    def host(self) -> Iterator[tuple]:
        """The host's part of a call, on maps too small to matter."""
        block, (x,) = self.block(self.half), self.maps((1, 512, 64, 64), self.half, 1)
        matrix = torch.randn(1, 512, 512, device=self.device, dtype=self.half)
        g = x[:, :256, 0, 0].contiguous()
        logits = torch.randn(1, 19, 16, 32, device=self.device, dtype=self.half)
        calls = {
            "torch.empty_like": lambda: torch.empty_like(g),
            "torch.add": lambda: g + g,
            "gram": lambda: gram(x),
            "channel_affine": lambda: channel_affine(x, matrix),
            "graph_reason": lambda: block.reasoning(g),
            "upsample_argmax": lambda: upsample_argmax(logits, (128, 256)),
            "block": lambda: block(x),
            "block, direct form": lambda: block.forward_direct(x),
        }
        with torch.inference_mode():
            for name, call in calls.items():
                yield name, "enqueue", self.enqueue(call), "us"
        leaf = torch.randn(2, 150, 8, 8, device=self.device, dtype=self.half).requires_grad_()
        target = torch.randint(150, (2, 64, 64), device=self.device)
        for name, options in (("", {}), (", mined", {"ohem": (0.7, 100)})):
            call = _with_backward(leaf, target, options)
            yield f"upsample_cross_entropy, forward + backward{name}", "enqueue", self.enqueue(call, 50), "us"

    def operators(self) -> Iterator[tuple]:
        """The operators and the block at the paper's resolution, and the last step of a network."""
        h, w = self.side
        with torch.inference_mode():
            for c in (512, 256, 128):
                yield from self._block_at(c, h, w)
            logits = torch.randn(1, 19, h, w, device=self.device, dtype=self.half)
            smooth = F.interpolate(torch.randn(1, 19, 8, 8), (h, w), mode="bicubic").to(self.device, self.half)
            for name, each in (("random", logits), ("regions", smooth)):
                call = self.replay(lambda each=each: upsample_argmax(each, (8 * h, 8 * w)))
                yield f"upsample_argmax, {name}", "replayed", self.elapsed(call), "us"
        side = 8 if self.small else 64
        leaf = torch.randn(2, 150, side, side, device=self.device, dtype=self.half).requires_grad_()
        target = torch.randint(150, (2, 8 * side, 8 * side), device=self.device)
        for name, options in (("", {}), (", mined", {"ohem": (0.7, 100_000)})):
            call, name = _with_backward(leaf, target, options), f"upsample_cross_entropy, forward + backward{name}"
            yield name, "called", self.elapsed(call, 10), "us"
            yield name, "replayed", self.elapsed(self.replay(call), 10), "us"
            yield from self.kernels(name, call)

    def _block_at(self, c: int, h: int, w: int) -> Iterator[tuple]:
        block, xs = self.block(self.half, c), self.maps((1, c, h, w), self.half)
        matrix = torch.randn(1, c, c, device=self.device, dtype=self.half) / c
        shifted = (matrix + torch.eye(c, device=self.device, dtype=self.half))[0]
        conv = nn.Conv2d(c, c, 3, padding=1).to(self.device, self.half, memory_format=torch.channels_last)
        folded = FoldedBlock(block, conv)
        last = [x.contiguous(memory_format=torch.channels_last) for x in xs]
        each = {
            "gram": (gram, xs),
            "channel_affine": (lambda x: channel_affine(x, matrix), xs),
            "torch.mm of half the multiply-adds": (lambda x: x[0].flatten(1)[: c // 2] @ x[0].flatten(1).mT, xs),
            "(I + M) X by torch.mm": (lambda x: shifted @ x[0].flatten(1), xs),
            "block": (block, xs),
            "block, direct form": (block.forward_direct, xs),
            "block, channels_last": (block, last),
            "block, direct form, channels_last": (block.forward_direct, last),
            "convolution 3x3, channels_last": (ConvAct(conv), last),
            "folded block and convolution, channels_last": (folded, last),
        }
        for name, (form, inputs) in each.items():
            call = self.replay(lambda form=form, inputs=inputs: [form(x) for x in inputs])
            yield f"{name}, C={c}, {h}x{w}", "replayed", self.elapsed(call) / len(inputs), "us"
        yield from self.kernels(f"block, C={c}", lambda: block(xs[0]))
        yield from self.kernels(f"folded block and convolution, C={c}", lambda: folded(last[0]))

    def training(self) -> Iterator[tuple]:
        """The block's forward and backward."""
        for dtype in (torch.float16, torch.bfloat16, torch.float32) if self.on_gpu else (torch.float32,):
            block, (x,) = self.block(dtype).train(), self.maps((1, 512, *self.side), dtype, 1)
            x.requires_grad_()
            gradient = torch.randn_like(x)
            for name, form in (("srzoo", block.forward), ("direct", block.forward_direct)):

                def step(form=form, x=x, gradient=gradient) -> None:
                    x.grad = None
                    form(x).backward(gradient)

                name = f"block, forward + backward, {name}, {dtype}"
                yield name, "called", self.elapsed(step, 10), "us"
                yield from self.kernels(name, step)

    def models(self) -> Iterator[tuple]:
        """Fused models under autocast and in half weights."""
        size = (64, 128) if self.small else (1024, 2048)
        for name in ("srnet_dfv2",) if self.small else ("srnet_lite0", "srnet_dfv2", "srnet_r50"):
            yield from self._model(name, size)

    def _model(self, name: str, size: tuple[int, int]) -> Iterator[tuple]:
        torch.manual_seed(0)
        model = srzoo.fuse(srzoo.create_model(name, num_classes=19).eval())
        model = model.to(self.device, memory_format=torch.channels_last)
        x = torch.randn(1, 3, *size).to(self.device, memory_format=torch.channels_last)
        dtype = torch.float16 if self.on_gpu else torch.bfloat16

        @torch.inference_mode()
        def autocast():
            with torch.autocast(self.device, dtype, cache_enabled=False):
                return model(x)

        yield from self.kernels(f"{name}, fused, autocast", autocast, 3)
        for benchmark in (False, True):
            torch.backends.cudnn.benchmark = benchmark
            title = f"{name}, fused, autocast, cudnn.benchmark={benchmark}"
            yield title, "replayed", self.elapsed(self.replay(autocast), 10) / 1e3, "ms"
            yield title, "called", self.elapsed(autocast, 10) / 1e3, "ms"
        model, y = model.to(self.half), x.to(self.half)

        @torch.inference_mode()
        def halved():
            return model(y)

        title = f"{name}, fused, weights in half, cudnn.benchmark=True"
        yield title, "replayed", self.elapsed(self.replay(halved), 10) / 1e3, "ms"
        yield title, "called", self.elapsed(halved, 10) / 1e3, "ms"
        yield from self.kernels(title, halved, 3)
        torch.backends.cudnn.benchmark = False


def _with_backward(leaf: torch.Tensor, target: torch.Tensor, options: dict[str, object]) -> Callable[[], None]:
    def step() -> None:
        leaf.grad = None
        upsample_cross_entropy(leaf, target, **options).backward()

    return step


PARTS = ("host", "operators", "training", "models")


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"expected {', '.join(PARTS)}, got {text!r}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", type=_part, default=[], help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", type=device_argument, default="cuda")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    is_measured = options.device != "cpu" and not options.small
    out = options.out or (RESULTS / "gpu_profile.csv" if is_measured else None)
    torch.backends.cudnn.allow_tf32 = False  # as in products by default; else it is some forms' alone
    profile, rows, failed = Profile(options), [], 0
    for part in options.parts or PARTS:
        began = time.perf_counter()
        try:
            for name, what, value, unit in getattr(profile, part)():
                row = {"part": part, "name": name, "what": what, "value": round(value, 2), "unit": unit}
                rows.append(row | machine(options.device, torch.get_num_threads(), 7))
                print(f"{value:11.2f} {unit:2} {part:9} {what:24.60} {name}", flush=True)
        except Exception:  # the other parts are worth having
            traceback.print_exc()
            failed = 1
        print(f"{part} took {time.perf_counter() - began:.0f} s", flush=True)
        if rows and out is not None:
            update_csv(rows, out, ("part",))
    sys.exit(failed)


if __name__ == "__main__":
    told(main)
