"""What the compiler makes of every Triton kernel, with no GPU present: registers, spills, predicted times.

    python bench/aot.py

Writes ``bench/results/aot.csv``, a row per kernel, architecture, dtype, memory format and shape. The times are
predicted from bytes, operations and the vendors' rates (``kernels/srzoo_kernels/ahead_of_time/roofline.py``); nothing
here was measured on a GPU.
"""

import argparse
import sys

import torch
from paired import RESULTS, ROOT, write_csv

sys.path.insert(0, str(ROOT / "kernels"))

from srzoo_kernels.ahead_of_time._triton import Report, compile_launches
from srzoo_kernels.ahead_of_time.cases import Case, all_cases
from srzoo_kernels.ahead_of_time.roofline import RATES, occupancy, roofline
from srzoo_kernels.launch import A100, B200, H100, MI300, Target

# The paper's two resolutions at D=512 (769 crops and 1024x2048 images at stride 8), a batch of the first as in
# training, and DFNet's stride 32 at 1024x2048.
SHAPES = [(1, 512, 96, 96), (8, 512, 96, 96), (1, 512, 128, 256), (1, 128, 32, 64)]
DTYPES = [("float16", False), ("bfloat16", False), ("float32", False), ("float32", True)]


def row(case: Case, report: Report, x: torch.Tensor, target: Target, tf32: bool) -> dict[str, object]:
    rates = RATES[target]
    dtype = x.dtype if case.tensor_core else torch.float32
    rate = rates.operations(dtype, tf32 and case.tensor_core)
    programs = case.launch.grid[0] * case.launch.grid[1] * case.launch.grid[2]
    predicted = roofline(case.bytes, case.operations, rate, programs, target)
    from_cache = roofline(case.bytes, case.operations, rate, programs, target, case.operand_bytes)
    limit = 1e6 * max(case.bytes / rates.memory, case.least_operations / rate)
    blocks = {name: value for name, value in case.launch.constants.items() if isinstance(value, int) and value > 1}
    return {
        "op": case.name,
        "arch": f"sm_{target.arch}" if target.backend == "cuda" else target.arch,
        "dtype": "tf32" if tf32 else str(x.dtype).removeprefix("torch."),
        "memory_format": "contiguous" if x.is_contiguous() else "channels_last",
        "shape": "x".join(map(str, x.shape)),
        "grid": "x".join(map(str, case.launch.grid)),
        "blocks": " ".join(f"{name}={value}" for name, value in blocks.items()),
        "warps": report.threads // target.warp_size,
        "stages": case.launch.stages,
        "registers": report.registers,
        "spills": report.spills,
        "shared_bytes": report.shared,
        "occupancy": f"{occupancy(report.registers, report.shared, report.threads, target):.3f}",
        "tensor_core_instruction": " ".join(report.products),
        "load_bits": report.load_bits,
        "bytes": case.bytes,
        "scratch_bytes": case.scratch_bytes,
        "operand_bytes": case.operand_bytes,
        "operations": case.operations,
        "least_operations": case.least_operations,
        "device": rates.name,
        "limit_us_predicted": f"{limit:.2f}",
        "roofline_us_predicted": f"{predicted:.2f}",
        "with_operands_us_predicted": f"{from_cache:.2f}",
        "scratch_us_in_l2_assumed": f"{1e6 * case.scratch_bytes / rates.cache:.2f}",
        "roofline_over_limit": f"{predicted / limit:.2f}",
    }


def rows():
    for target in (A100, H100, B200, MI300):
        for name, tf32 in DTYPES:
            torch.backends.cuda.matmul.allow_tf32 = tf32
            for shape in SHAPES:
                for memory_format in (torch.contiguous_format, torch.channels_last):
                    x = torch.empty(shape, dtype=getattr(torch, name), device="meta", memory_format=memory_format)
                    cases = all_cases(x, target)
                    reports = compile_launches((case.launch, target) for case in cases)
                    for case, report in zip(cases, reports, strict=True):
                        yield row(case, report, x, target, tf32)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()  # it has no options
    write_csv(list(rows()), RESULTS / "aot.csv")


if __name__ == "__main__":
    main()
