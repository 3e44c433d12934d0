"""The launches that the ahead-of-time test and report compile.

To add an operator, write a function as `gram_cases` and put it into `CASES`: nothing else needs to know.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..channel_affine._triton import plan_channel_affine, plan_channel_affine_backward
from ..conv2d_act._triton import plan_depthwise, plan_epilogue
from ..gram._triton import plan_gram, plan_gram_backward
from ..graph_reason import _triton as reason
from ..launch import Launch, Target
from ..layout import is_channels_last
from ..panoptic_merge import _triton as merge_kernels
from ..paste_masks._triton import plan_paste_masks
from ..squeeze_reasoning import _triton as block
from ..upsample_argmax import _triton as argmax_kernel
from ..upsample_bilinear._triton import plan_upsample_bilinear
from ..upsample_cross_entropy import _triton as loss_kernels
from ..windows.flat import read_windows

NODES, REDUCTION = 16, 2  # of the block whose reasoning is compiled
CLASSES, STRIDE = 19, 8  # of the logits that are resized
INSTANCES, MASK_SIDE = 8, 28  # of an image in which instances are pasted and merged


@dataclass(frozen=True)
class Case:
    """One kernel launch of an operator, and what it moves and does.

    Attributes:
        name: operator and kernel.
        launch: planned with meta tensors.
        bytes: least traffic with device memory, each operand once; without `scratch_bytes`.
        operations: executed, two per multiply-add, padding included.
        least_operations: what the mathematics asks for; for a symmetric result half of the product.
        operand_bytes: what all programs of a product read through the L2 cache; 0 where they share nothing.
        scratch_bytes: partial results handed to a second stage, written or read here; meant to stay in the L2 cache.
        tensor_core: whether it is a product that belongs on tensor cores.
        streams: whether it reads a map, and so has to load 128 bits at a time.
    """

    name: str
    launch: Launch
    bytes: int
    operations: int
    least_operations: int
    scratch_bytes: int = 0
    operand_bytes: int = 0
    tensor_core: bool = True
    streams: bool = True


def _size(*tensors: torch.Tensor) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def _product_operations(launch: Launch) -> int:
    """Two per multiply-add of every program, the last step of a split padded."""
    tiles, _, n = launch.grid
    depth = launch.constants["DEPTH"]
    steps = -(-launch.arguments["pixels"] // depth)
    return 2 * tiles * n * steps * depth * launch.constants["TILE"] ** 2


def _map_operations(launch: Launch) -> int:
    tiles, n, _ = launch.grid
    constants, channels = launch.constants, launch.arguments["channels"]
    padded = -(-channels // constants["DEPTH"]) * constants["DEPTH"]
    return 2 * n * tiles * constants["ROWS"] * constants["COLUMNS"] * padded


def _product_operands(launch: Launch) -> int:
    """Bytes of both tiles of every program; one that also sums its rows and is symmetric reads a single tile."""
    tiles, _, n = launch.grid
    constants, a = launch.constants, launch.arguments["a"]
    once = -(-a.shape[1] // constants["TILE"]) if constants["SYMMETRIC"] and constants["WITH_SUMS"] else 0
    return n * (2 * tiles - once) * constants["TILE"] * launch.arguments["pixels"] * a.element_size()


def _map_operands(launch: Launch) -> int:
    """Bytes of the matrix's and the map's tile of every program, and of the map where it is added."""
    tiles, n, _ = launch.grid
    constants, x = launch.constants, launch.arguments["x"]
    read = n * tiles * (constants["ROWS"] + constants["COLUMNS"]) * x.shape[1] * x.element_size()
    return read + (_size(x) if constants["WITH_BASE"] else 0)


def gram_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """Both stages of `gram`, and its gradient."""
    launches, (second, first) = plan_gram(x, target)
    n, c, h, w = x.shape
    results = _size(second, first)
    product = launches[0]
    # A split writes the tiles on and above the diagonal; with a single one they are the result.
    tiles = product.grid[0] * product.constants["TILE"] ** 2
    scratch = 4 * product.grid[1] * n * (tiles + c) if len(launches) == 2 else 0
    moved = _size(x) + (0 if scratch else results)
    halved = n * h * w * c * (c + 1)
    operands = _product_operands(product)
    cases = [Case("gram", product, moved, _product_operations(product), halved, scratch, operands)]
    if scratch:
        cases.append(Case("gram second stage", launches[1], results, 0, 0, scratch, tensor_core=False))
    matrix = second.to(x.dtype)
    scale = x.new_empty(n, dtype=torch.float32) if x.dtype == torch.float16 else None
    (backward,), (grad,) = plan_gram_backward(x, matrix, first, scale, target)
    moved = _size(x, matrix, first, grad)
    operands = _map_operands(backward)
    return [*cases, Case("gram backward", backward, moved, _map_operations(backward), 2 * halved, 0, operands)]


def channel_affine_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """`channel_affine`, whose transpose is its gradient, and the gradient of the matrix and bias."""
    n, c, h, w = x.shape
    matrix, bias = x.new_empty(n, c, c), x.new_empty(n, c)
    least = 2 * n * h * w * c * c
    cases = []
    for name, each, offset in (("channel_affine", matrix, bias), ("channel_affine dX", matrix.mT, None)):
        (launch,), (y,) = plan_channel_affine(x, each, offset, target)
        moved = _size(x, matrix, bias, y)
        cases.append(Case(name, launch, moved, _map_operations(launch), least, 0, _map_operands(launch)))
    (launch,), (parts, part_sums) = plan_channel_affine_backward(x, x, True, target)
    scratch = _size(parts, part_sums)
    operations, operands = _product_operations(launch), _product_operands(launch)
    return [*cases, Case("channel_affine dM db", launch, 2 * _size(x), operations, least, scratch, operands)]


def reason_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """Both reasoning operators, forward and backward, in float32 whatever the map's dtype."""
    n, c = x.shape[:2]
    width = c // REDUCTION
    k, d = NODES, width // NODES
    g, adjacency, weight = (x.new_empty(shape, dtype=torch.float32) for shape in ((n, width), (k, k), (d, d)))
    graph, attention = (g, adjacency, weight), (g, weight, weight, weight)
    grad = z = g
    planned = {
        "graph_reason": (reason.plan_graph_reason(*graph, target), k + d),
        "graph_reason backward": (reason.plan_graph_reason_backward(grad, *graph, z, target), 3 * k + 2 * d),
        "attention_reason": (reason.plan_attention_reason(*attention, target), 2 * k + 3 * d),
        "attention_reason backward": (
            reason.plan_attention_reason_backward(grad, *attention, z, target),
            5 * k + 9 * d,
        ),
    }
    cases = []
    for name, (((launch,), _), products) in planned.items():
        moved = _size(*(each for each in launch.arguments.values() if isinstance(each, torch.Tensor)))
        operations = 2 * n * k * d * products
        cases.append(Case(name, launch, moved, operations, operations, tensor_core=False, streams=False))
    return cases


def block_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """`squeeze_reasoning` and, for a 3x3 convolution of as many outputs, `squeeze_reasoning_weights`.

    Those of their launches that no other operator has.
    """
    n, c = x.shape[:2]
    reduced = c // REDUCTION
    k, d = NODES, reduced // NODES
    shapes = ((reduced, c), (reduced, c), (c, reduced), (k, k), (d, d))
    transform, pair, project, adjacency, weight = (x.new_empty(shape) for shape in shapes)
    base = x.new_empty(c, c, 3, 3).to(memory_format=torch.channels_last)
    projected = x.new_empty(9 * c, reduced)
    weights = (transform, pair, project, adjacency, weight)
    (_, squeeze, reason, applied), _ = block.plan_block_matrix(x, *weights, x.dtype != torch.float32, target)
    folded = (transform, pair, projected, adjacency, weight, base)
    (*_, fold), (out,) = block.plan_squeeze_reasoning_weights(x, *folded, target)
    tile, splits = block.SQUEEZE_TILE, squeeze.arguments["splits"]
    tiles = squeeze.grid[0]
    shares, z = 4 * n * tiles * reduced, 4 * n * reduced
    scratch = 4 * n * splits * tiles * tile**2 + shares
    products = 2 * 2 * n * tiles * reduced * tile**2  # of each tile and its mirror image
    reasoning = n * (tiles * reduced + 2 * reduced * (k + d))
    cases = [
        Case("squeeze", squeeze, _size(transform, pair), products, products, scratch, tensor_core=False),
        Case("reason", reason, _size(adjacency, weight), reasoning, reasoning, shares + z, tensor_core=False),
    ]
    for name, launch, left, result, added in (
        ("map", applied, project, x.new_empty(n, c, c), []),
        ("fold", fold, projected, out, [base]),
    ):
        side, depth = launch.constants["TILE"], launch.constants["DEPTH"]
        padded = -(-reduced // depth) * depth
        programs, least = launch.grid[0] * n, 2 * n * left.numel() * c
        operations, operands = 2 * programs * side**2 * padded, programs * 2 * side * reduced * x.element_size()
        moved, is_half = _size(left, transform, result, *added), x.dtype != torch.float32
        cases.append(Case(name, launch, moved, operations, least, z, operands, tensor_core=is_half))
    return [replace(case, streams=False) for case in cases]


def _tile_operations(launch: Launch, each: int, classes: int = CLASSES) -> int:
    """``SPAN`` source rows mixed along the width and then down, ``each`` for an output, for ``classes`` a program."""
    rows, columns, span = (launch.constants[name] for name in ("ROWS", "COLUMNS", "SPAN"))
    return math.prod(launch.grid) * classes * columns * (span * (3 + 2 * rows) + each * rows)


def head_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """The upsampling operators for logits at the resolution of the map ``x``, at stride 8.

    No load is wider than a number: neighbouring outputs read the same source pixels, which the caches serve. Of an
    output's operations the resize takes 3 for its height, a comparison and two selections 3, the loss 10, its slope 9
    and the slope's way to the corners 2; an exponential counts as one.
    """
    n, _, h, w = x.shape
    form = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    logits = torch.empty((n, CLASSES, h, w), dtype=x.dtype, device=x.device, memory_format=form)
    height, width = STRIDE * h, STRIDE * w
    labelled = logits.new_empty((n, height, width), dtype=torch.int64)
    (argmax,), (labels, _) = argmax_kernel.plan_upsample_argmax(logits, height, width, False, False, target)
    (resize,), (resized,) = plan_upsample_bilinear(logits, height, width, False, target)
    resize_operations = _tile_operations(resize, 0, resize.arguments["per_group"])
    operands, options = (logits, labelled, None, None, None), (255, 0.0, None, False, True)
    (loss, total, cells, corner_sum), (_, grad) = loss_kernels.plan_loss(*operands, *options, target)
    plane, ids, sums = (loss.arguments[name] for name in ("log_totals", "ids", "sums"))
    along_width, outputs = 3 * n * CLASSES * h * width, n * CLASSES * height * width
    scratch = _size(cells.arguments["corners"])
    block = cells.constants["CLASSES"] * cells.constants["COLUMNS"]
    slopes = math.prod(cells.grid) * block * STRIDE**2 * (3 + 9 + 2)
    name = "upsample_cross_entropy"
    cases = [
        Case("upsample_argmax", argmax, _size(logits, labels), _tile_operations(argmax, 3), along_width + 6 * outputs),
        Case("upsample_bilinear", resize, _size(logits, resized), resize_operations, along_width + 3 * outputs),
        Case(
            name,
            loss,
            _size(logits, labelled, ids, plane, sums),
            _tile_operations(loss, 10),
            along_width + 13 * outputs,
        ),
        Case(f"{name} total", total, _size(sums), sums.numel(), sums.numel()),
        Case(f"{name} gradient", cells, _size(logits, ids, plane), slopes, along_width + 14 * outputs, scratch),
        Case(f"{name} gradient, second stage", corner_sum, _size(grad), 4 * grad.numel(), 0, scratch),
    ]
    return [replace(case, tensor_core=False, streams=False) for case in cases]


def instance_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """`paste_masks` and `panoptic_merge` for an image of which the map ``x`` has stride 8.

    The instances have windows of half the image's sides, in a diagonal. Of the merge's launches for the instances the
    first two are here; the others differ in their grid. Loads are of bytes, as a window's pixels begin anywhere.
    """
    height, width = STRIDE * x.shape[2], STRIDE * x.shape[3]
    steps = [(index * width // (2 * INSTANCES), index * height // (2 * INSTANCES)) for index in range(INSTANCES)]
    windows = read_windows(
        torch.tensor([(left, top, left + width // 2, top + height // 2) for left, top in steps]), (height, width)
    )
    masks = x.new_empty(INSTANCES, MASK_SIDE, MASK_SIDE)
    paste, pixels = plan_paste_masks(masks, x.new_empty(INSTANCES, 4), windows, 0.5, 0)
    labels = x.new_empty((height, width), dtype=torch.int64)
    is_stuff = x.new_empty(CLASSES, dtype=torch.bool)
    launches, ids, areas = merge_kernels.plan_panoptic_merge(pixels, windows, labels, is_stuff, 0.5, 4096)
    count, claim, *_, stuff_count, stuff_area, stuff_write = launches
    of_window, of_image = windows[0].pixels, labels.numel()
    counts, stuff_counts = (_size(launch.arguments["counts"]) for launch in (count, stuff_count))
    constants = stuff_count.constants
    compared = math.prod(stuff_count.grid) * constants["CHUNK"] * constants["CHUNKS"] * constants["CLASSES"]
    name, seen = "panoptic_merge", _size(labels, ids)
    cases = [
        Case("paste_masks", paste, _size(masks, pixels), 10 * len(pixels), 10 * len(pixels)),
        Case(f"{name} count", count, 5 * of_window, 2 * of_window, 2 * of_window, counts),
        Case(f"{name} claim", claim, 9 * of_window, 2 * of_window, 2 * of_window, counts),
        Case(f"{name} stuff", stuff_count, seen, 2 * compared, of_image, stuff_counts),
        Case(f"{name} stuff, second stage", stuff_area, _size(areas), stuff_counts // 4, 0, stuff_counts),
        Case(f"{name} stuff, ids", stuff_write, seen + _size(ids), 2 * of_image, 2 * of_image),
    ]
    return [replace(case, tensor_core=False, streams=False) for case in cases]


def convolution_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """What follows a convolution, and a depthwise one with all of that, which is for channels_last maps alone."""
    c = x.shape[1]
    bias = x.new_empty(c)
    flat = x.new_empty(x.numel())
    (launch,), _ = plan_epilogue(flat, bias, flat, c, 1 if is_channels_last(x) else x[0, 0].numel(), "relu6", target)
    cases = [Case("epilogue", launch, 3 * _size(x), 4 * x.numel(), 4 * x.numel(), tensor_core=False)]
    if is_channels_last(x):
        for kernel, dilation in ((3, 1), (5, 2)):
            around = (dilation * (kernel // 2),) * 4
            weight = x.new_empty(kernel, kernel, c)
            (launch,), (y,) = plan_depthwise(x, weight, bias, 1, around, dilation, "relu6", target)
            operations = 2 * kernel**2 * x.numel()
            name = f"depthwise {kernel}x{kernel}, dilation {dilation}"
            cases.append(Case(name, launch, _size(x, weight, y), operations, operations, tensor_core=False))
    return cases


CASES: list[Callable[[torch.Tensor, Target], list[Case]]] = [
    gram_cases,
    channel_affine_cases,
    reason_cases,
    block_cases,
    head_cases,
    instance_cases,
    convolution_cases,
]


def all_cases(x: torch.Tensor, target: Target) -> list[Case]:
    """Every operator's launches for a meta tensor ``x`` ``(N, C, H, W)``, dense."""
    return [case for cases in CASES for case in cases(x, target)]
