"""CUDA graphs for inference: a network's launches recorded once for each size of image, and replayed."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ..messages import one_line

_WARM_UP = 3  # calls before a capture, in which cuDNN chooses its algorithms and Triton compiles


class Replay:
    """A function of one tensor on a GPU, without gradients, which is replayed as a CUDA graph.

    A shape is captured when it comes the second time, so that a folder of images of many sizes runs as without graphs.
    A graph keeps the memory of all activations of its shape. Where a capture fails, for example because there is not
    enough memory, it is said once, and the function runs without graphs from then on.

    Args:
        function: takes a tensor and options that are not tensors, and returns a tensor. What else it reads, such as
            weights, must neither move nor change its shape.
        limit: number of graphs that are kept; beyond it, the one that was used longest ago is given up.
    """

    def __init__(self, function: Callable[..., torch.Tensor], limit: int = 8):
        self.function, self.limit = function, limit
        self._graphs: OrderedDict[tuple, _Recorded | None] = OrderedDict()  # None: seen once
        self._lock = threading.Lock()
        self._is_usable = True

    def __call__(self, x: torch.Tensor, **options: Any) -> torch.Tensor:
        """The function's result, in memory of its own."""
        if not self._is_usable or torch.is_grad_enabled():
            return self.function(x, **options)
        key = (x.shape, x.stride(), x.dtype, x.device, *sorted(options.items()))
        with self._lock:  # a graph's input and result are shared by all calls
            is_new, recorded = key not in self._graphs, self._graphs.get(key)
            self._graphs[key] = recorded
            self._graphs.move_to_end(key)
            while len(self._graphs) > self.limit:
                self._graphs.popitem(last=False)
            if is_new:
                return self.function(x, **options)
            if recorded is None:
                recorded = self._graphs[key] = self._record(x, options)
            if recorded is None:
                return self.function(x, **options)
            recorded.x.copy_(x)
            recorded.replay()
            return recorded.result.clone()

    def _record(self, x: torch.Tensor, options: dict[str, Any]) -> _Recorded | None:
        held = x.clone()
        try:
            replay, result = record(lambda: self.function(held, **options))
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


def record(call: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
    """Capture a call on the current GPU, with cuDNN's fastest algorithms: what runs it again, and what it returns.

    Raises:
        RuntimeError: it waits for the device, or there is not enough memory.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = call()
    return graph.replay, result
