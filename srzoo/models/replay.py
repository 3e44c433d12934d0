"""CUDA graphs for inference: a network's launches recorded once for each size of image, and replayed."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from ..messages import one_line

_recording = threading.Lock()  # what a capture sets is of the process
_WARM_UP = 3  # calls before a capture, in which cuDNN chooses its algorithms and Triton compiles


class Replay:
    """A network on a GPU whose forward pass is replayed as a CUDA graph where no gradient is wanted.

    It is called as the network, and has its attributes. The network itself is not changed: it can be copied, saved and
    called as before. A shape is captured when it comes the second time, so that a folder of images of many sizes runs
    as without graphs. A graph keeps the memory of all activations of its shape; where an image lacks memory, all graphs
    are given up for it. Where a capture fails, for example because there is not enough memory, it is said once, and the
    network runs without graphs from then on. Hooks of modules run while a graph is captured, and not when it is
    replayed.

    Args:
        network: takes a tensor and options that are not tensors, and returns a tensor. What else it reads, such as its
            weights, must neither move nor change its shape.
        limit: number of graphs that are kept; beyond it, the one that was used longest ago is given up.
    """

    def __init__(self, network: Callable[..., torch.Tensor], limit: int = 8):
        self.network, self.limit = network, limit
        self._graphs: OrderedDict[tuple, _Recorded | None] = OrderedDict()  # None: seen once
        self._lock = threading.Lock()
        self._is_usable = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def __reduce__(self) -> tuple:
        return Replay, (self.network, self.limit)  # a copy has weights of its own, and captures them itself

    def __call__(self, x: torch.Tensor, **options: Any) -> torch.Tensor:
        """The network's result, in memory of its own."""
        # autocast keeps copies of weights that are freed when it ends, and a graph would read them later.
        if not self._is_usable or torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type):
            return self.network(x, **options)
        # A graph belongs to one stream, which orders the copies from and to its memory.
        stream = torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0
        key = (x.shape, x.stride(), x.dtype, x.device, stream, *sorted(options.items()))
        with self._lock:  # a graph's input and result are shared by all calls
            is_new, recorded = key not in self._graphs, self._graphs.get(key)
            self._graphs[key] = recorded
            self._graphs.move_to_end(key)
            while len(self._graphs) > self.limit:
                self._graphs.popitem(last=False)
            if not is_new and recorded is None:
                recorded = self._graphs[key] = self._record(x, options)
            if recorded is None:
                return self._run(x, options)
            recorded.x.copy_(x)
            recorded.replay()
            return recorded.result.clone()

    def _run(self, x: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """Without a graph. If memory is lacking, once more without those that the graphs keep."""
        try:
            return self.network(x, **options)
        except torch.OutOfMemoryError:
            if not any(self._graphs.values()):
                raise
        self._graphs.clear()
        return self.network(x, **options)

    def _record(self, x: torch.Tensor, options: dict[str, Any]) -> _Recorded | None:
        with torch.inference_mode(False):  # else no call outside of it could write to the clone
            held = x.clone()
        try:
            replay, result = record(lambda: self.network(held, **options), x.device)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            self._is_usable = False
            self._graphs.clear()
            warnings.warn(
                f"images of {x.shape[3]}x{x.shape[2]} cannot be captured in a CUDA graph ({one_line(error)}); they run "
                "without graphs from now on",
                stacklevel=4,
            )
            return None
        return _Recorded(held, replay, result)


class _Recorded(NamedTuple):
    """A captured call: the tensors that it reads and writes, and what runs it again."""

    x: torch.Tensor
    replay: Callable[[], None]
    result: torch.Tensor


def record(call: Callable[[], torch.Tensor], device: torch.device) -> tuple[Callable[[], None], torch.Tensor]:
    """Capture a call on a GPU, with cuDNN's fastest algorithms: what runs it again, and what it returns.

    One thread captures at a time.

    Raises:
        RuntimeError: it waits for the device, or there is not enough memory.
    """
    with _recording, _cudnn_benchmark(), torch.cuda.device(device):  # else a second GPU's launches are not captured
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = call()
    return graph.replay, result


@contextmanager
def _cudnn_benchmark() -> Iterator[None]:
    """Let cuDNN try its algorithms; `cudnn.flags` would reset the other flags."""
    cudnn = torch.backends.cudnn
    benchmark, cudnn.benchmark = cudnn.benchmark, True
    try:
        yield
    finally:
        cudnn.benchmark = benchmark
