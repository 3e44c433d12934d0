"""The kernels' machine code for GPUs that are not here: no spills, tensor cores, wide loads, close to the limit."""

import dataclasses
import math
import threading
import time

import pytest
import torch

from srzoo_kernels.launch import A100, B200, H100, MI300

pytest.importorskip("triton")

import triton.runtime.jit

from srzoo_kernels.ahead_of_time import _triton as compilation
from srzoo_kernels.ahead_of_time._triton import compile_launch, compile_launches
from srzoo_kernels.ahead_of_time.cases import all_cases, channel_affine_cases, gram_cases
from srzoo_kernels.ahead_of_time.roofline import RATES, roofline
from srzoo_kernels.products.blocks import map_tile

TARGETS = [A100, H100, B200, MI300]
DTYPES = [(torch.float16, False), (torch.bfloat16, False), (torch.float32, False), (torch.float32, True)]
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024, "gfx942": 64 * 1024}


@pytest.fixture
def meta_map():
    before = torch.backends.cuda.matmul.allow_tf32

    def make(shape, dtype=torch.bfloat16, tf32=False, memory_format=torch.contiguous_format):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        return torch.empty(shape, dtype=dtype, device="meta", memory_format=memory_format)

    yield make
    torch.backends.cuda.matmul.allow_tf32 = before


def check(case, report, target, dtype, tf32, channels_last):
    assert report.spills == 0, case.name
    assert report.shared <= SHARED_LIMIT[target.arch], case.name
    fused = dtype == torch.float32 and not tf32 and target.backend == "cuda"  # no float32 tensor core there
    assert bool(report.products) == (case.tensor_core and not fused) or not case.tensor_core, case.name
    # Hopper and later multiply TF32 only with the summed axis contiguous; Triton turns a channels_last tile round
    # while copying it, 32 bits at a time. Synchronous 128-bit loads would give up the pipeline instead.
    turned = tf32 and channels_last and target.arch in (90, 100) and "pixels" in case.launch.arguments
    if case.streams and not (turned and case.launch.constants.get("TILE")):
        assert report.load_bits >= 128, case.name


def test_machine_code_for_one_gpu(meta_map):
    x = meta_map((1, 512, 96, 96))
    cases = all_cases(x, H100)
    for case, report in zip(cases, compile_launches((case.launch, H100) for case in cases), strict=True):
        check(case, report, H100, x.dtype, False, False)


def test_one_thread_parses_at_a_time(meta_map, monkeypatch):
    # CPython 3.11 counts the parser's depth for all threads together, and fails where two are in it (gh-106905).
    parse, inside, most = triton.runtime.jit.ast.parse, [], []

    class Slow:
        @staticmethod
        def parse(source):
            inside.append(threading.get_ident())
            most.append(len(set(inside)))
            time.sleep(0.01)
            inside.remove(threading.get_ident())
            return parse(source)

        def __getattr__(self, name):
            return getattr(__import__("ast"), name)

    monkeypatch.setattr(triton.runtime.jit, "ast", Slow())
    monkeypatch.setenv("TRITON_ALWAYS_COMPILE", "1")
    monkeypatch.setattr(compilation.os, "sched_getaffinity", lambda pid: range(2))
    compilation._compile.cache_clear()
    compile_launches((case.launch, H100) for case in gram_cases(meta_map((1, 64, 9, 13)), H100))
    assert len(most) > 2
    assert max(most) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tf32"), DTYPES, ids=["float16", "bfloat16", "float32", "tf32"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.arch))
def test_machine_code(target, dtype, tf32, meta_map):
    """Both layouts; float16 and bfloat16, whose code differs by the names of types, take one each but on Hopper."""
    one = {torch.float16: [torch.contiguous_format], torch.bfloat16: [torch.channels_last]}
    both = [torch.contiguous_format, torch.channels_last]
    cases = [
        (case, memory_format == torch.channels_last)
        for memory_format in (both if target is H100 else one.get(dtype, both))
        for shape in [(1, 512, 96, 96), (1, 128, 32, 64)]
        for case in all_cases(meta_map(shape, dtype, tf32, memory_format), target)
    ]
    reports = compile_launches((case.launch, target) for case, _ in cases)
    for (case, channels_last), report in zip(cases, reports, strict=True):
        check(case, report, target, dtype, tf32, channels_last)


def test_the_report_sees_spills_narrow_loads_and_missing_tensor_cores(meta_map):
    good = gram_cases(meta_map((1, 512, 96, 96)), A100)[0].launch
    assert compile_launch(dataclasses.replace(good, warps=1), A100).spills > 0
    odd = gram_cases(meta_map((1, 512, 33, 47)), A100)[0].launch
    assert compile_launch(odd, A100).load_bits < 128
    fused = gram_cases(meta_map((1, 512, 96, 96), torch.float32), A100)[0].launch
    assert compile_launch(fused, A100).products == ()


@pytest.mark.parametrize(("dtype", "tf32"), DTYPES, ids=["float16", "bfloat16", "float32", "tf32"])
@pytest.mark.parametrize("shape", [(1, 512, 96, 96), (8, 512, 96, 96), (1, 512, 128, 256), (1, 128, 32, 64)], ids=str)
@pytest.mark.parametrize("target", [A100, H100], ids=["A100", "H100"])
def test_gram_comes_near_its_limit_on_paper(target, shape, dtype, tf32, meta_map):
    """Both stages within 1.5 times the larger of the byte limit and the halved operation limit.

    Between the stages the splits are taken to stay in the L2 cache, which they do not fill.
    """
    *forward, backward = gram_cases(meta_map(shape, dtype, tf32), target)
    assert max(case.scratch_bytes for case in forward) < 0.6 * RATES[target].cache_bytes
    rate = RATES[target].operations(dtype, tf32)
    for cases in (forward, [backward]):
        least_bytes = sum(case.bytes for case in cases)
        least_operations = sum(case.least_operations for case in cases)
        limit = 1e6 * max(least_bytes / RATES[target].memory, least_operations / rate)
        programs = [math.prod(case.launch.grid) for case in cases]
        predicted = [
            roofline(case.bytes, case.operations, rate, count, target)
            for case, count in zip(cases, programs, strict=True)
        ]
        assert limit <= sum(predicted) * 1.001 and sum(predicted) <= 1.5 * limit, cases[0].name


def test_what_an_h100_took_is_predicted_from_what_its_programs_read(meta_map):
    """34.8 us for `gram` with its second stage, and 45.8 for `channel_affine` (``bench/results/sr_block_gpu.csv``)."""
    x = meta_map((1, 512, 128, 256), torch.float16)
    found = {}
    for case in (*gram_cases(x, H100), *channel_affine_cases(x, H100)):
        rate, programs = RATES[H100].operations(x.dtype, False), math.prod(case.launch.grid)
        found[case.name] = roofline(case.bytes, case.operations, rate, programs, H100, case.operand_bytes)
    assert 20 < found["gram"] < 30 and 43 < found["channel_affine"] < 53


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.arch))
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 512, 96, 96), (16, 130, 33, 47)], ids=str)
def test_splits_cover_every_pixel_once(shape, target, meta_map):
    launch = gram_cases(meta_map(shape), target)[0].launch
    pixels, depth, steps, splits = (
        shape[2] * shape[3],
        launch.constants["DEPTH"],
        launch.arguments["steps"],
        launch.grid[1],
    )
    assert (splits - 1) * steps * depth < pixels <= splits * steps * depth


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.arch))
def test_grids_stay_within_what_a_launch_takes(target, meta_map):
    """Only the first axis of a CUDA grid may have more than 65535 programs."""
    for shape in [(1, 32, 4096, 8192), (512, 64, 8, 8), (1, 1024, 1024, 1024)]:
        for case in all_cases(meta_map(shape), target):
            assert max(case.launch.grid[1:]) <= 65535 and case.launch.grid[0] < 2**31, (case.name, case.launch.grid)


def test_a_map_tile_is_large_unless_it_idles_the_device():
    assert map_tile(512, 8, 9216, H100) == (128, 128)
    assert map_tile(512, 1, 9216, H100) == (128, 64)  # 288 tiles of 128 x 128 would leave the third wave nearly empty
    height, width = map_tile(128, 1, 2048, A100)  # 16 tiles for 108 processors
    assert height * width < 128 * 64
