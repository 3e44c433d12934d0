"""What a Triton launch needs to know, without Triton: the device, the grid and the arguments.

Every ``_triton.py`` first plans its launches and then runs them. A plan made from meta tensors is what the
ahead-of-time report compiles, so the report and the program cannot drift apart.
"""

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType

import torch

HAS_TRITON = importlib.util.find_spec("triton") is not None  # PyTorch brings it on Linux alone
MOST_ELEMENTS = 2**31  # that the 32-bit offsets of a kernel reach
MOST_PROGRAMS = 65535  # along the second and third axis of a grid
# Since PyTorch 2.9 there are switches that make ``allow_tf32`` raise an error as soon as somebody has used them.
_HAS_PRECISION = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@dataclass(frozen=True)
class Target:
    """A device to compile for.

    Attributes:
        backend: "cuda", "hip" or "interpreter".
        arch: compute capability times ten (80, 90, 100), or a ``gfx`` name.
        processors: streaming multiprocessors or compute units; the splits are chosen to fill them.
        warp_size: threads in a warp.
    """

    backend: str
    arch: int | str
    processors: int
    warp_size: int = 32


INTERPRETER = Target("interpreter", 80, processors=6)
A100 = Target("cuda", 80, processors=108)
H100 = Target("cuda", 90, processors=132)
B200 = Target("cuda", 100, processors=148)
MI300 = Target("hip", "gfx942", processors=304, warp_size=64)


@dataclass(frozen=True)
class Launch:
    """One kernel launch: ``kernel[grid](**arguments, **constants)``."""

    kernel: Callable
    grid: tuple[int, int, int]
    arguments: dict[str, torch.Tensor | int]
    constants: dict[str, object] = field(default_factory=dict)
    warps: int = 4
    stages: int = 2

    def __call__(self) -> object:
        """Launch by Triton's own way; returns the compiled kernel, or None in the interpreter."""
        options = {"num_warps": self.warps, "num_stages": self.stages}
        return self.kernel[self.grid](**self.arguments, **self.constants, **options)


@lru_cache  # an import statement in a function takes a microsecond of every call
def kernels_of(package: str) -> ModuleType:
    """The module ``_triton`` of an operator's package, imported at its first use: importing Triton takes a while."""
    return importlib.import_module("._triton", package)


def interpreted() -> bool:
    """Whether Triton's interpreter stands in for the CPU kernels, so that a machine with no GPU runs them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def is_on_gpu(x: torch.Tensor) -> bool:
    """Whether ``x`` is computed on by a GPU, which nothing waits for. `idle_driver` answers in its place."""
    return x.is_cuda


def triton_serves(x: torch.Tensor) -> bool:
    """Whether there is Triton where ``x`` lies: on a GPU, or in the interpreter."""
    return HAS_TRITON and (is_on_gpu(x) or interpreted())


def triton_serves_batch(x: torch.Tensor) -> bool:
    """Whether `triton_serves` the images ``x`` ``(N, ...)``, each of them a program along one axis of a grid."""
    return triton_serves(x) and x.shape[0] <= MOST_PROGRAMS  # last, as an export for a CPU keeps every condition


def triton_multiplies(x: torch.Tensor) -> bool:
    """Whether Triton also has products for ``x``: a recent GPU (or the interpreter), not float64, not empty.

    Triton has no tensor-core products before Ampere, and spills there. The offsets inside one image are 32-bit, so an
    image of 2^31 elements or more is left to PyTorch too.
    """
    if not triton_serves_batch(x) or x.dtype is torch.float64:
        return False
    elements = x.numel()
    if elements == 0 or (elements >= MOST_ELEMENTS and elements // x.shape[0] >= MOST_ELEMENTS):
        return False
    target = target_of(x)
    return target.backend != "cuda" or target.arch >= 80


def target_of(x: torch.Tensor) -> Target:
    """The device ``x`` lives on."""
    return _target(x.device) if is_on_gpu(x) else INTERPRETER


@lru_cache  # on the way of every launch
def _target(device: torch.device) -> Target:
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:
        arch = properties.gcnArchName.split(":")[0]
        return Target("hip", arch, properties.multi_processor_count, properties.warp_size)
    return Target("cuda", properties.major * 10 + properties.minor, properties.multi_processor_count)


def current_stream(x: torch.Tensor) -> int | None:
    """The stream of ``x``'s device that launches go to, as a number; None leaves it to Triton's driver."""
    return torch._C._cuda_getCurrentRawStream(x.get_device()) if x.is_cuda else None


def run(launches: list[Launch], x: torch.Tensor) -> None:
    """Run ``launches`` in order on ``x``'s device; Triton would take the current one."""
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        for launch in launches:
            launch()


def multiplies_in_tf32(x: torch.Tensor) -> bool:
    """Whether PyTorch may multiply matrices of ``x``'s dtype in TF32 on a GPU."""
    if x.dtype is not torch.float32:
        return False
    matmul = torch.backends.cuda.matmul
    return matmul.fp32_precision == "tf32" if _HAS_PRECISION else matmul.allow_tf32


def convolves_in_tf32(x: torch.Tensor) -> bool:
    """The same of convolutions, which have a switch of their own."""
    if x.dtype is not torch.float32:
        return False
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision == "tf32" if _HAS_PRECISION else cudnn.allow_tf32


def precision(x: torch.Tensor) -> str:
    """How a product of ``x`` is computed: in TF32 only where the user allows PyTorch the same.

    "widened" is bfloat16 in the interpreter, which has no product for it.
    """
    if x.dtype == torch.bfloat16 and interpreted():
        return "widened"
    return "tf32" if multiplies_in_tf32(x) else "ieee"
