"""What a kernel could take on a device, predicted from its bytes and its operations. No measurement.

Rates are the vendors' figures for the SXM boards, dense. The L2 rates are assumptions, since no vendor gives them; that
of an H100 to its processors is what `gram` and `channel_affine`, which it bounds, were measured to take there.
"""

from dataclasses import dataclass

import torch

from ..launch import A100, B200, H100, MI300, Target


@dataclass(frozen=True)
class Rates:
    """Bytes and operations per second, and the memory of a processor.

    Attributes:
        name: of the board.
        memory, cache: bytes per second from device memory and from the L2 cache.
        operands: bytes per second from the L2 cache to all processors, of what many programs read.
        cache_bytes: size of the L2 cache.
        half, tf32, fma: operations per second in float16 and bfloat16, TF32, and float32.
        registers, shared, threads: per processor: 32-bit registers, bytes, and resident threads.
    """

    name: str
    memory: float
    cache: float
    cache_bytes: int
    half: float
    tf32: float
    fma: float
    operands: float
    registers: int = 65536
    shared: int = 0
    threads: int = 2048

    def operations(self, dtype: torch.dtype, tf32: bool) -> float:
        """Operations per second of a product in ``dtype``."""
        return (self.tf32 if tf32 else self.fma) if dtype == torch.float32 else self.half


RATES = {
    A100: Rates("A100", 2.039e12, 5.0e12, 40 << 20, 312e12, 156e12, 19.5e12, 5.0e12, shared=164 * 1024),
    H100: Rates("H100", 3.35e12, 5.5e12, 50 << 20, 989.4e12, 494.7e12, 66.9e12, 6.0e12, shared=228 * 1024),
    B200: Rates("B200", 8.0e12, 10e12, 126 << 20, 2250e12, 1125e12, 75e12, 10e12, shared=228 * 1024),
    MI300: Rates(
        "MI300X", 5.3e12, 10e12, 256 << 20, 1307e12, 653.7e12, 163.4e12, 10e12, registers=131072, shared=64 * 1024
    ),
}


def filled(programs: int, target: Target) -> float:
    """Share of the device's processors at work, with the programs run in waves of one per processor."""
    waves = -(-programs // target.processors)
    return programs / (waves * target.processors)


def roofline(
    memory_bytes: int, operations: int, rate: float, programs: int, target: Target, operand_bytes: int = 0
) -> float:
    """Predicted microseconds: the longest of the bytes from memory, the operations of the processors at work, and the
    bytes that their programs read from the L2 cache, each tile by every program that multiplies it."""
    rates = RATES[target]
    busy = filled(programs, target)
    return 1e6 * max(memory_bytes / rates.memory, operations / (rate * busy), operand_bytes / rates.operands)


def occupancy(registers: int, shared: int, threads: int, target: Target) -> float:
    """Share of a processor's resident threads that a kernel reaches, by its registers and shared memory."""
    rates = RATES[target]
    by_registers = rates.registers // (-(-max(registers, 1) // 8) * 8 * threads)
    # CUDA keeps 1 KB of shared memory for itself in every program.
    by_shared = rates.shared // (shared + 1024) if target.backend == "cuda" else rates.shared // max(shared, 1)
    return min(by_registers, by_shared, rates.threads // threads) * threads / rates.threads
