"""Compile a planned launch for a target with no device present, and read the machine code."""

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ..launch import Launch, Target

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
# CPython 3.11's parser counts its depth for all threads together (gh-106905): a second one at the same time fails.
_PARSING = threading.RLock()
_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass(frozen=True)
class Report:
    """What the compiler made of a kernel.

    Attributes:
        registers: per thread.
        spills: instructions that move a register to or from thread-local memory, or the compiler's own count (AMD).
        shared: bytes of shared memory of a program.
        threads: of a program.
        products: the tensor-core instructions, sorted; empty where products are fused multiply-adds.
        load_bits: widest load from global memory by one thread.
        code: the disassembled machine code.
    """

    registers: int
    spills: int
    shared: int
    threads: int
    products: tuple[str, ...]
    load_bits: int
    code: str = field(repr=False)


def compile_launch(launch: Launch, target: Target) -> Report:
    """Compile ``launch`` as Triton's own launcher would specialize it, and report on the result.

    Raises:
        KeyError: a tensor's dtype has no pointer type here.
    """
    signature, constants, aligned = {}, dict(launch.constants), []
    for index, name in enumerate(launch.kernel.arg_names):
        value = launch.arguments.get(name)
        if name in constants:
            signature[name] = "constexpr"
        elif isinstance(value, torch.Tensor):
            signature[name] = _POINTERS[value.dtype]
            aligned.append(index)
        elif isinstance(value, float):
            signature[name] = launch.kernel.params[index].annotation_type or "fp32"
        elif value == 1 and not launch.kernel.params[index].do_not_specialize:
            signature[name], constants[name] = "constexpr", 1
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0 and not launch.kernel.params[index].do_not_specialize:
                aligned.append(index)
    frozen = (tuple(signature.items()), tuple(constants.items()), tuple(aligned))
    return _compile(launch.kernel, *frozen, launch.warps, launch.stages, target)


def compile_launches(launches: Iterable[tuple[Launch, Target]]) -> list[Report]:
    """`compile_launch` of each, on every core: the compiler and its tools run outside Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda each: compile_launch(*each), launches))


class _Source(ASTSource):
    """A kernel's source, parsed by one thread at a time."""

    def hash(self):
        with _PARSING:
            return super().hash()

    def make_ir(self, *arguments, **keywords):
        with _PARSING:
            return super().make_ir(*arguments, **keywords)


@cache
def _compile(kernel, signature, constants, aligned, warps: int, stages: int, target: Target) -> Report:
    attributes = {(index,): [["tt.divisibility", 16]] for index in aligned}
    source = _Source(kernel, dict(signature), dict(constants), attributes)
    gpu = GPUTarget(target.backend, target.arch, target.warp_size)
    compiled = triton.compile(source, target=gpu, options={"num_warps": warps, "num_stages": stages})
    # The backend may have raised the number of warps, e.g. for warp specialization.
    threads = compiled.metadata.num_warps * target.warp_size
    read = _read_amd if target.backend == "hip" else _read_nvidia
    registers, spills, products, load_bits, code = read(compiled.asm)
    return Report(registers, spills, compiled.metadata.shared, threads, products, load_bits, code)


def _read_nvidia(asm) -> tuple[int, int, tuple[str, ...], int, str]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(asm["cubin"])
        file.flush()
        usage = _tool("cuobjdump", "-res-usage", file.name)
        code = _tool("nvdisasm", file.name)
    registers = max(int(count) for count in re.findall(r"REG:(\d+)", usage))
    spills = len(re.findall(r"\b(?:STL|LDL)\b", code))
    products = sorted(set(re.findall(r"\b(?:HMMA|HGMMA|UTC[A-Z]*MMA)[.\w]*", code)))
    # A load without a width moves 32 bits; one of a byte or two says so, and counts as 32 here.
    loads = re.findall(r"\b(?:LDG|LDGSTS|UBLKCP)\b([.\w]*)", code)
    widths = [int(width) for load in loads for width in re.findall(r"\.(64|128|256)\b", load)]
    return registers, spills, tuple(products), max(widths, default=32), code


def _read_amd(asm) -> tuple[int, int, tuple[str, ...], int, str]:
    code = asm["amdgcn"]
    registers = max(int(count) for count in re.findall(r"\.vgpr_count:\s+(\d+)", code))
    spills = sum(int(count) for count in re.findall(r"\.vgpr_spill_count:\s+(\d+)", code))
    products = sorted(set(re.findall(r"v_mfma\w+", code)))
    words = [int(count) for count in re.findall(r"(?:global|buffer)_load_dwordx(\d)", code)]
    return registers, spills, tuple(products), 32 * max(words, default=1), code


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run([_TOOLS / name, *arguments], check=True, capture_output=True, text=True).stdout
