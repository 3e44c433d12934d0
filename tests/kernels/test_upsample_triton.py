"""The machine code of the upsampling operators' Triton kernels, and their plans, without a GPU."""

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

pytest.importorskip("triton")


from srzoo_kernels import upsample_argmax, upsample_cross_entropy
from srzoo_kernels.ahead_of_time._triton import compile_launches
from srzoo_kernels.bilinear.cells import source_scale
from srzoo_kernels.bilinear.tiles import tile_rows
from srzoo_kernels.launch import A100, B200, H100, MI300
from srzoo_kernels.upsample_argmax import _triton as argmax
from srzoo_kernels.upsample_bilinear import _triton as bilinear
from srzoo_kernels.upsample_cross_entropy import _triton as loss

DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def plans(dtype):
    """Every kernel on a 19x128x256 map of logits, resized to eight times the size."""
    logits = torch.empty(1, 19, 128, 256, dtype=dtype, device="meta")
    labelled = torch.empty(1, 1024, 2048, dtype=torch.int64, device="meta")
    weight = torch.empty(19, device="meta")
    (mining,), (probability,) = loss.plan_probability(logits, labelled, 255, False, H100)
    operands = (logits, labelled, weight, probability, weight[0])
    (heaviest, total, weighted, corners), _ = loss.plan_loss(*operands, 255, 0.1, 0.7, False, True, H100)
    (first, _, cells, _), _ = loss.plan_loss(logits, labelled, None, None, None, 255, 0.0, None, False, True, H100)
    return {
        "argmax": argmax.plan_upsample_argmax(logits, 1024, 2048, False, False, H100)[0][0],
        "probability": argmax.plan_upsample_argmax(logits, 1024, 2048, False, True, H100)[0][0],
        "bilinear": bilinear.plan_upsample_bilinear(logits, 1024, 2048, False, H100)[0][0],
        "bilinear, four times": bilinear.plan_upsample_bilinear(logits, 512, 1024, False, H100)[0][0],
        "mining": mining,
        "loss": first,
        "loss with every option": heaviest,
        "total": total,
        "gradient": cells,
        "gradient with every option": weighted,
        "corners": corners,
    }


def check_all(dtype, targets):
    """Compile every kernel for every target, and check the machine code."""
    kernels = [(name, launch, target) for name, launch in plans(dtype).items() for target in targets]
    reports = compile_launches((launch, target) for _, launch, target in kernels)
    for (name, _, target), report in zip(kernels, reports, strict=True):
        check(name, report, dtype, target)


def loops(code):
    """The code of each loop, from a label to the branch back to it."""
    places = {found[1]: found.end() for found in re.finditer(r"^\s*(\.L_x_\d+):", code, re.M)}
    branches = re.finditer(r"\bBRA\b[^;\n]*`\((\.L_x_\d+)\)", code)
    return [code[places[each[1]] : each.start()] for each in branches if places.get(each[1], len(code)) < each.start()]


def check(name, report, dtype, target):
    code, what = report.code, (name, target.arch)
    assert report.spills == 0, what
    if target.backend == "hip":
        assert re.search(r"sgpr_spill_count:\s*0\b", code), what
        assert "global_atomic" not in code, what
        return
    assert not re.search(r"\b(ATOM|ATOMG|RED)\b", code), what
    logits = "LDG.E" if dtype == torch.float32 else "LDG.E.U16"
    loads = re.findall(r"\bLDG\.E[.\w]*", code)
    if name in ("argmax", "probability"):
        # Neighbouring outputs read one source pixel, so nothing is wider; six numbers serve eight outputs of a class.
        assert [load.removesuffix(".CONSTANT") for load in loads] == [logits] * 6, what
        assert "STG.E.64" in code, what  # eight labels
    if name.startswith("bilinear"):
        assert [load.removesuffix(".CONSTANT") for load in loads] == [logits] * (8 if "four" in name else 6), what
        stores = re.findall(r"\bSTG\.E[.\w]*", code)
        assert set(stores) == {"STG.E.128"}, what
    if name.startswith(("loss", "mining", "gradient")):
        # A thread that owned four columns would convert layouts in shared memory for every class.
        (innermost, *_) = sorted((loop for loop in loops(code) if "MUFU.EX2" in loop), key=len)
        assert not re.search(r"\b(BAR|LDS|STS\w*|SHFL)\b", innermost), what
    assert "MUFU.EX2" in code or name in ("argmax", "corners", "total") or name.startswith("bilinear"), what


def test_code_for_hopper_and_mi300():
    check_all(torch.bfloat16, [H100])
    check_all(torch.float16, [MI300])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_code_for_every_architecture(dtype):
    check_all(dtype, [A100, H100, B200, MI300])


@pytest.mark.parametrize(
    ("height", "source", "most", "rows", "span"),
    [(1024, 128, 3, 8, 3), (512, 128, 3, 4, 3), (256, 128, 3, 2, 3), (128, 128, 3, 1, 2), (64, 128, 3, 1, 2),
     (1000, 143, 3, 4, 3), (1024, 128, 4, 8, 3), (512, 128, 4, 8, 4), (256, 128, 4, 4, 4), (128, 128, 4, 2, 4),
     (64, 128, 4, 1, 2), (1000, 300, 4, 4, 3), (1000, 143, 4, 8, 4)],
)  # fmt: skip
def test_a_tile_reads_all_its_source_rows(height, source, most, rows, span):
    assert tile_rows(height, source, most) == (rows, span)
    for align_corners in (False, True):
        scale = source_scale(height, source, align_corners)
        for first in range(0, height, rows):
            low, high = ((y * scale if align_corners else (y + 0.5) * scale - 0.5) for y in (first, first + rows - 1))
            assert int(max(high, 0)) + 1 - int(max(low, 0)) < span


@pytest.mark.parametrize(("classes", "block"), [(1, 4), (4, 4), (19, 8), (11, 8), (150, 8), (32, 8)])
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
