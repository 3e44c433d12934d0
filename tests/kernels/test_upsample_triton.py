"""The Triton kernels of both operators, without a GPU: their values in the interpreter, their code ahead of time."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

triton = pytest.importorskip("triton")
# ruff: noqa: E402  (what follows needs triton)

from triton import language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from srzoo_kernels import upsample_argmax, upsample_cross_entropy
from srzoo_kernels.upsample_argmax import _triton as argmax
from srzoo_kernels.upsample_cross_entropy import _triton as loss

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
NVIDIA = [GPUTarget("cuda", arch, 32) for arch in (80, 90, 100)]
AMD = GPUTarget("hip", "gfx942", 64)
DTYPES = ["fp16", "bf16", "fp32"]
TILE = {
    "stride_w": 1,
    "ALIGN_CORNERS": False,
    "ROWS": 8,
    "SPAN": 3,
    "COLUMNS": argmax.TILE_COLUMNS,
    "DTYPE": tl.float32,
}
PLANES = {"labels": "*i64", "weight": "*fp32", "log_totals": "*fp32"}
SUMS = {**PLANES, "probability": "*fp32", "sums": "*fp32"}
KERNELS = {
    "argmax": (argmax._argmax_kernel, {"labels": "*u8", "probability": "*fp32"}, {**TILE, "PROBABILITY": False}, 4),
    "probability": (argmax._argmax_kernel, {"labels": "*u8", "probability": "*fp32"}, {**TILE, "PROBABILITY": True}, 4),
    "loss": (loss._loss_kernel, SUMS, {**TILE, "PROBABILITY": False}, 4),
    "mining": (loss._loss_kernel, SUMS, {**TILE, "PROBABILITY": True}, 4),
    "gradient": (
        loss._gradient_kernel,
        {**PLANES, "totals": "*fp32", "gradient": "*fp32"},
        {"stride_w": 1, "grad_stride_w": 1, "ALIGN_CORNERS": False, "CLASSES": 16, "COLUMNS": loss.GRADIENT_COLUMNS,
         "DTYPE": tl.float32},
        loss.GRADIENT_WARPS,
    ),
}  # fmt: skip
DIVISIBLE = {"h", "w", "height", "width", "stride_n", "stride_k", "stride_h"}


@pytest.mark.parametrize("cases", ["argmax", "loss"])
def test_values_in_the_interpreter(cases, run_python):
    script = Path(__file__).parent / "interpret_upsample.py"
    done = run_python(str(script), cases, env={"TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interpreted\n"


def compiled(name, dtype, target):
    """The kernel for sizes divisible by 16, as a launch on a 128x256 map of logits would specialise it."""
    kernel, pointers, constants, warps = KERNELS[name]
    pointers = {"logits": "*" + dtype, **pointers}
    signature = {
        parameter.name: "constexpr"
        if parameter.name in constants
        else pointers.get(parameter.name) or parameter.annotation_type or "i32"
        for parameter in kernel.params
    }
    position = {name: (index,) for index, name in enumerate(kernel.arg_names)}
    attributes = {position[name]: [["tt.divisibility", 16]] for name in position if name in DIVISIBLE | pointers.keys()}
    values = {position[name]: value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=attributes)
    return triton.compile(source, target=target, options={"num_warps": warps})


def check_nvidia(name, dtype, target, folder):
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(compiled(name, dtype, target).asm["cubin"])
    usage = subprocess.check_output([TOOLS / "cuobjdump", "-res-usage", cubin], text=True, stderr=subprocess.STDOUT)
    assert re.search(r"STACK:0\b", usage), usage
    assert re.search(r"LOCAL:0\b", usage), usage
    code = subprocess.check_output([TOOLS / "nvdisasm", "-c", cubin], text=True)
    assert not re.search(r"\b(LDL|STL)\b", code)  # no spills
    assert not re.search(r"\b(ATOM|ATOMG|RED)\b", code)
    logits = "LDG.E.U16" if dtype != "fp32" else "LDG.E"
    loads = re.findall(r"\bLDG\.E[.\w]*", code)
    if name in ("argmax", "probability"):
        # Neighbouring outputs read one source pixel, so nothing is wider; six numbers serve eight outputs of a class.
        assert [load.removesuffix(".CONSTANT") for load in loads] == [logits] * 6
        assert "STG.E.64" in code  # eight labels
    if name == "loss":
        assert any(load.startswith("LDG.E.128") for load in loads)  # labels
        assert "STG.E.128" in code
    assert "MUFU.EX2" in code or name == "argmax"


def check_amd(name, dtype):
    code = compiled(name, dtype, AMD).asm["amdgcn"]
    assert re.search(r"vgpr_spill_count:\s*0\b", code)
    assert re.search(r"sgpr_spill_count:\s*0\b", code)
    assert "global_atomic" not in code
    assert "global_load_dwordx4" in code or name != "loss"


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("nothing is compiled in the interpreter")
    return tmp_path


@pytest.mark.parametrize("name", KERNELS)
def test_code_for_hopper_and_mi300(name, no_cache):
    check_nvidia(name, "bf16", NVIDIA[1], no_cache)
    check_amd(name, "fp16")


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_code_for_every_architecture(name, dtype, no_cache):
    for target in NVIDIA:
        check_nvidia(name, dtype, target, no_cache)
    check_amd(name, dtype)


@pytest.mark.parametrize(
    ("height", "source", "rows", "span"),
    [(1024, 128, 8, 3), (512, 128, 4, 3), (256, 128, 2, 3), (128, 128, 1, 2), (64, 128, 1, 2), (1000, 143, 4, 3)],
)
def test_a_tile_reads_all_its_source_rows(height, source, rows, span):
    assert argmax.tile_rows(height, source) == (rows, span)
    for align_corners in (False, True):
        scale = argmax.source_scale(height, source, align_corners)
        for first in range(0, height, rows):
            low, high = ((y * scale if align_corners else (y + 0.5) * scale - 0.5) for y in (first, first + rows - 1))
            assert int(max(high, 0)) + 1 - int(max(low, 0)) < span


@pytest.mark.parametrize(("classes", "block"), [(1, 4), (4, 4), (19, 8), (11, 16), (150, 16), (32, 16)])
def test_blocks_of_classes(classes, block):
    assert loss.classes_per_block(classes) == block


def test_the_cuda_path_traces_without_a_gpu():
    with FakeTensorMode():
        logits = torch.empty(2, 19, 8, 9, device="cuda", dtype=torch.float16, requires_grad=True)
        labels, probability = upsample_argmax(logits, (64, 72), return_probability=True)
        value = upsample_cross_entropy(logits, labels)
        # The engine itself asks for a device, so its call is made by hand.
        _, saved = torch.ops.srzoo.upsample_cross_entropy(logits, labels, None, 255, 0.0, None, 0, False, True)
        gradient = torch.ops.srzoo.upsample_cross_entropy_backward(value.detach(), saved, logits.dtype)
    assert (labels.device.type, labels.dtype, labels.shape) == ("cuda", torch.uint8, (2, 64, 72))
    assert (probability.dtype, probability.shape) == (torch.float32, (2, 64, 72))
    assert (value.dtype, value.shape, value.requires_grad) == (torch.float32, (), True)
    assert (gradient.device, gradient.dtype, gradient.shape) == (logits.device, torch.float16, logits.shape)
