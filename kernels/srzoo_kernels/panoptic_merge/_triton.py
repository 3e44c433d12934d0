"""The merge as a row of launches that never wait for the host: instances that do not meet are taken together."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from ..launch import Launch, run
from ..windows._triton import BLOCK, WARPS, block_pixels
from ..windows.flat import Window, plan_blocks

PARTIALS = 256  # counts that a program adds up at a time
CHUNK, CHUNKS = 128, 32  # pixels whose classes a program counts at a time, and how often
CLASSES = 32  # that are counted by a program; with twice as many the masks of an MI300 spill
ROWS = 32  # counts of a class that are added up at a time


@triton.jit(do_not_specialize=["first"])
def _count_kernel(
    pixels,  # (T,) uint8
    ids,  # (H, W) int32
    counts,  # (blocks, 2) int32
    owner,
    table,
    first,
    columns,
    BLOCK: tl.constexpr,
):
    """The pixels of an instance in a block, and how many of them are claimed; ``first`` is the block of program 0."""
    block = first + tl.program_id(0)
    _, _, _, index, x, y, inside = block_pixels(block, owner, table, BLOCK)
    mask = tl.load(pixels + index, inside, 0) != 0
    claimed = tl.load(ids + y.to(tl.int64) * columns + x, mask, 0) > 0
    tl.store(counts + 2 * block, tl.sum(mask.to(tl.int32)))
    tl.store(counts + 2 * block + 1, tl.sum(claimed.to(tl.int32)))


@triton.jit(do_not_specialize=["first"])
def _claim_kernel(
    pixels,  # (T,) uint8
    ids,  # (H, W) int32
    counts,  # (blocks, 2) int32
    areas,  # (N + C,) int64
    owner,
    table,
    first,
    columns,
    overlap: tl.float64,
    BLOCK: tl.constexpr,
    PARTIALS: tl.constexpr,
):
    """Claim the free pixels of a block, unless too many of its instance are claimed; every block adds up all counts."""
    block = first + tl.program_id(0)
    window, first_block, window_pixels, index, x, y, inside = block_pixels(block, owner, table, BLOCK)
    area = tl.zeros((PARTIALS,), tl.int64)
    claimed = tl.zeros((PARTIALS,), tl.int64)
    blocks = tl.cdiv(window_pixels, BLOCK)
    for start in range(0, blocks, PARTIALS):
        part = start + tl.arange(0, PARTIALS)
        pair = counts + 2 * (first_block + part)
        area += tl.load(pair, part < blocks, 0)
        claimed += tl.load(pair + 1, part < blocks, 0)
    total = tl.sum(area)
    taken = tl.sum(claimed)
    share = taken.to(tl.float64) / tl.maximum(total, 1).to(tl.float64)
    kept = tl.full((BLOCK,), share, tl.float64) <= overlap  # the interpreter spreads numbers, not truths
    pixel = ids + y.to(tl.int64) * columns + x
    mask = inside & kept & (tl.load(pixels + index, inside, 0) != 0)
    mask = mask & (tl.load(pixel, mask, 1) == 0)
    tl.store(pixel, tl.zeros((BLOCK,), tl.int32) + window + 1, mask)
    tl.store(areas + window, tl.where(share <= overlap, total - taken, 0), block == first_block)


@triton.jit
def _free_class(labels, ids, index, pixels, classes):
    """The class of each pixel that no instance has claimed, int32, and -1 for the others and for what is no class."""
    free = tl.load(ids + index, index < pixels, 1) == 0
    label = tl.load(labels + index, free, 0)
    return tl.where(free & (label >= 0) & (label < classes), label.to(tl.int32), -1)


@triton.jit
def _stuff_count_kernel(
    labels,  # (H, W) any integers
    ids,  # (H, W) int32
    counts,  # (programs, C) int32
    pixels,
    classes,
    CHUNK: tl.constexpr,
    CHUNKS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """How many free pixels of ``CHUNKS * CHUNK`` have each class of a block of classes."""
    which = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    found = tl.zeros((CLASSES,), tl.int32)
    start = tl.program_id(0).to(tl.int64) * (CHUNKS * CHUNK)
    for step in range(CHUNKS):
        label = _free_class(labels, ids, start + step * CHUNK + tl.arange(0, CHUNK), pixels, classes)
        found += tl.sum((label[:, None] == which[None, :]).to(tl.int32), 0)
    tl.store(counts + tl.program_id(0).to(tl.int64) * classes + which, found, which < classes)


@triton.jit(do_not_specialize=["instances"])
def _stuff_area_kernel(
    counts,  # (programs, C) int32
    is_stuff,  # (C,) uint8
    areas,  # (N + C,) int64
    programs,
    classes,
    instances,
    least,
    ROWS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """The area of each stuff class, or 0 where it is below ``least``."""
    which = tl.program_id(0) * CLASSES + tl.arange(0, CLASSES)
    inside = which < classes
    total = tl.zeros((ROWS, CLASSES), tl.int64)
    for start in range(0, programs, ROWS):
        row = start + tl.arange(0, ROWS)
        there = (row < programs)[:, None] & inside[None, :]
        total += tl.load(counts + row.to(tl.int64)[:, None] * classes + which[None, :], there, 0)
    area = tl.sum(total, 0)
    kept = (tl.load(is_stuff + which, inside, 0) != 0) & (area >= least)
    tl.store(areas + instances + which, tl.where(kept, area, 0), inside)


@triton.jit(do_not_specialize=["instances"])
def _stuff_write_kernel(
    labels,  # (H, W) any integers
    ids,  # (H, W) int32
    areas,  # (N + C,) int64
    pixels,
    classes,
    instances,
    BLOCK: tl.constexpr,
):
    """Give every free pixel of a class that has an area the id of the class."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    label = _free_class(labels, ids, index, pixels, classes)
    kept = tl.load(areas + instances + label, label >= 0, 0) > 0
    tl.store(ids + index, instances + 1 + label, kept)


def waves(windows: Sequence[Window]) -> list[list[int]]:
    """The windows with pixels, by number, in groups: those of a group do not meet, and come after all they meet before.

    Taking the groups in order, and the windows of each at once, gives what taking all windows in order would.
    """
    corners = torch.tensor([(each.left, each.top, each.width, each.height) for each in windows], dtype=torch.int64)
    starts, sizes = corners.view(-1, 2, 2).unbind(1)  # (N, 2)
    ends = starts + sizes
    # A window without pixels meets none, not even itself.
    meets = (torch.maximum(starts, starts[:, None]) < torch.minimum(ends, ends[:, None])).all(2).tolist()
    groups: list[list[int]] = []
    depths: list[int] = []
    for index, row in enumerate(meets):
        depths.append(1 + max((depth for depth, met in zip(depths, row, strict=False) if met), default=-1))
        if not row[index]:
            continue
        if depths[index] == len(groups):
            groups.append([])
        groups[depths[index]].append(index)
    return groups


def plan_instances(
    pixels: torch.Tensor, windows: Sequence[Window], ids: torch.Tensor, areas: torch.Tensor, overlap: float
) -> list[Launch]:
    """The launches that write the instances into ``ids`` and ``areas``, which are 0: two a wave."""
    blocks = plan_blocks(windows, waves(windows), BLOCK, ids.device)
    counts = ids.new_empty((len(blocks.owner), 2))
    count = {"pixels": pixels, "ids": ids, "counts": counts, "owner": blocks.owner, "table": blocks.table}
    claim = count | {"areas": areas, "overlap": overlap}
    launches = []
    for first, end in zip([0, *blocks.ends], blocks.ends, strict=False):
        grid, where = (end - first, 1, 1), {"first": first, "columns": ids.shape[1]}
        launches += [
            Launch(_count_kernel, grid, count | where, {"BLOCK": BLOCK}, WARPS),
            Launch(_claim_kernel, grid, claim | where, {"BLOCK": BLOCK, "PARTIALS": PARTIALS}, WARPS),
        ]
    return launches


def plan_stuff(
    labels: torch.Tensor, is_stuff: torch.Tensor, ids: torch.Tensor, areas: torch.Tensor, min_stuff_area: int
) -> list[Launch]:
    """The three launches that write the stuff into ``ids`` and ``areas``, after the instances."""
    pixels, classes = labels.numel(), len(is_stuff)
    programs, columns = triton.cdiv(pixels, CHUNK * CHUNKS), triton.cdiv(classes, CLASSES)
    image = {"labels": labels.contiguous(), "ids": ids, "pixels": pixels, "classes": classes}
    counts = ids.new_empty((programs, classes))
    segments = {"areas": areas, "classes": classes, "instances": len(areas) - classes}
    area = {
        "counts": counts,
        "is_stuff": is_stuff.contiguous().view(torch.uint8),
        "programs": programs,
        "least": min_stuff_area,
    }
    chunks = {"CHUNK": CHUNK, "CHUNKS": CHUNKS, "CLASSES": CLASSES}
    return [
        Launch(_stuff_count_kernel, (programs, columns, 1), image | {"counts": counts}, chunks, WARPS),
        Launch(_stuff_area_kernel, (columns, 1, 1), area | segments, {"ROWS": ROWS, "CLASSES": CLASSES}, WARPS),
        Launch(_stuff_write_kernel, (triton.cdiv(pixels, BLOCK), 1, 1), image | segments, {"BLOCK": BLOCK}, WARPS),
    ]


def plan_panoptic_merge(
    pixels: torch.Tensor,
    windows: Sequence[Window],
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    overlap: float,
    min_stuff_area: int,
) -> tuple[list[Launch], torch.Tensor, torch.Tensor]:
    """The launches that fill the ids and the areas; as `op._merge` has them."""
    ids = torch.zeros(labels.shape, dtype=torch.int32, device=labels.device)
    areas = torch.zeros(len(windows) + len(is_stuff), dtype=torch.int64, device=labels.device)
    instances = plan_instances(pixels.contiguous(), windows, ids, areas, overlap)
    return [*instances, *plan_stuff(labels, is_stuff, ids, areas, min_stuff_area)], ids, areas


def panoptic_merge_triton(
    pixels: torch.Tensor,
    windows: Sequence[Window],
    labels: torch.Tensor,
    is_stuff: torch.Tensor,
    overlap: float,
    min_stuff_area: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch the kernels in order; arguments and results as `op._merge` has them."""
    launches, ids, areas = plan_panoptic_merge(pixels, windows, labels, is_stuff, overlap, min_stuff_area)
    run(launches, labels)
    return ids, areas
