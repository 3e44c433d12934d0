"""The machine code of the kernels that paste and merge instances, and their plans, without a GPU."""

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

pytest.importorskip("triton")

from srzoo_kernels import panoptic_merge, paste_masks
from srzoo_kernels.ahead_of_time._triton import compile_launches
from srzoo_kernels.ahead_of_time.cases import instance_cases
from srzoo_kernels.launch import A100, B200, H100, MI300
from srzoo_kernels.panoptic_merge._triton import plan_panoptic_merge, waves
from srzoo_kernels.paste_masks._triton import plan_paste_masks
from srzoo_kernels.windows.flat import plan_blocks, read_windows


def check_all(dtype, targets):
    """Compile every kernel for every target: no spills, and no atomics in global or shared memory."""
    x = torch.empty(1, 3, 100, 152, dtype=dtype, device="meta")
    cases = [(case, target) for target in targets for case in instance_cases(x, target)]
    reports = compile_launches((case.launch, target) for case, target in cases)
    for (case, target), report in zip(cases, reports, strict=True):
        what = (case.name, target.arch)
        assert report.spills == 0, what
        if target.backend == "hip":
            assert not re.search(r"global_atomic|ds_add|sgpr_spill_count:\s*[1-9]", report.code), what
        else:
            assert not re.search(r"\b(ATOM|ATOMG|ATOMS|RED)\b", report.code), what
            assert "LDG.E" in report.code, what


def test_code_for_hopper_and_mi300():
    check_all(torch.float16, [H100, MI300])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_code_for_every_architecture(dtype):
    check_all(dtype, [A100, H100, B200, MI300])


def some_windows(n, seed=0):
    corners = torch.randint(0, 60, (n, 2, 2), generator=torch.Generator().manual_seed(seed)).sort(1).values
    return read_windows(corners.flatten(1))


def meet(a, b):
    return (
        max(a.left, b.left) < min(a.left + a.width, b.left + b.width)
        and max(a.top, b.top) < min(a.top + a.height, b.top + b.height)
    )  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_waves_keep_the_order_of_windows_that_meet(n):
    windows = some_windows(n)
    groups = waves(windows)
    of = {index: wave for wave, group in enumerate(groups) for index in group}
    assert sorted(of) == [index for index, window in enumerate(windows) if window.pixels]
    for index, wave in of.items():
        before = [of[other] for other in range(index) if other in of and meet(windows[other], windows[index])]
        assert wave == max(before, default=-1) + 1  # neither before its time nor later than needed
        assert not any(meet(windows[index], windows[other]) for other in groups[wave] if other != index)


def test_disjoint_instances_take_one_wave_and_a_heap_takes_two_launches_each():
    apart = read_windows(torch.tensor([[4 * index, 0, 4 * index + 4, 9] for index in range(7)]))
    heap = read_windows(torch.tensor([[0, 0, 9, 9]] * 7))
    labels, is_stuff = torch.zeros(9, 28, dtype=torch.int64), torch.ones(3, dtype=torch.bool)
    for windows, expected in ((apart, 2), (heap, 14)):
        pixels = torch.zeros(sum(window.pixels for window in windows), dtype=torch.uint8)
        assert len(plan_panoptic_merge(pixels, windows, labels, is_stuff, 0.5, 1)[0]) == expected + 3


@pytest.mark.parametrize("block", [16, 1024])
def test_blocks_cover_every_pixel_once(block):
    windows = some_windows(20)
    groups = waves(windows)
    blocks = plan_blocks(windows, groups, block, torch.device("cpu"))
    seen = torch.zeros(sum(window.pixels for window in windows), dtype=torch.int64)
    for number, owner in enumerate(blocks.owner.tolist()):
        start, *_, pixels, first = blocks.table[owner].tolist()
        begin = (number - first) * block
        assert 0 <= begin < pixels
        seen[start + begin : start + min(pixels, begin + block)] += 1
    assert (seen == 1).all()
    assert blocks.ends[-1] == len(blocks.owner)
    for begin, end, group in zip([0, *blocks.ends], blocks.ends, groups, strict=False):
        assert set(blocks.owner[begin:end].tolist()) == set(group)


def test_offsets_beyond_32_bits():
    """300 instances of 8000x4000 have 9.6e9 pixels: they begin at 64-bit offsets, in a grid that a launch takes."""
    windows = read_windows(torch.tensor([[0, 0, 8000, 4000]] * 300))
    masks, boxes = torch.empty(300, 28, 28, device="meta"), torch.empty(300, 4, device="meta")
    launch, pasted = plan_paste_masks(masks, boxes, windows, 0.5, 0)
    assert len(pasted) == 300 * 8000 * 4000
    assert launch.arguments["table"].dtype == torch.int64
    assert launch.grid[0] < 2**31


def test_the_cuda_path_traces_without_a_gpu():
    with FakeTensorMode(shape_env=ShapeEnv()):
        masks, boxes = torch.empty(3, 28, 28, device="cuda", dtype=torch.float16), torch.empty(3, 4, device="cuda")
        windows = torch.empty(3, 4, dtype=torch.int64)
        pixels = paste_masks(masks, boxes, windows)
        labels, is_stuff = torch.empty(7, 9, device="cuda", dtype=torch.uint8), torch.ones(5, device="cuda").bool()
        ids, areas = panoptic_merge(pixels, windows, labels, is_stuff)
    assert (pixels.device.type, pixels.dtype, pixels.dim()) == ("cuda", torch.uint8, 1)
    assert (ids.device.type, ids.dtype, ids.shape) == ("cuda", torch.int32, (7, 9))
    assert (areas.device.type, areas.dtype, areas.shape) == ("cuda", torch.int64, (8,))
    for name in ("paste_masks", "panoptic_merge"):
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"srzoo::{name}", "CUDA")
