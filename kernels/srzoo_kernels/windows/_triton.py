"""The pixels of a block of a window, inside a kernel."""

import triton
import triton.language as tl

BLOCK = 1024  # pixels of a program
WARPS = 4
FIELDS = tl.constexpr(6)  # of a window in `flat.Blocks.table`


@triton.jit
def block_pixels(block, owner, table, BLOCK: tl.constexpr):
    """Where the pixels of a block lie in the flat buffer and in the image, and which of them exist.

    ``owner`` and ``table`` are those of `flat.Blocks`.

    Returns:
        The number of the window, int32; the first block of the window and its pixels, int64; ``index`` ``(BLOCK,)``
        int64 in the flat buffer; ``x`` and ``y`` ``(BLOCK,)`` int32; and the mask.
    """
    window = tl.load(owner + block)
    row = table + window.to(tl.int64) * FIELDS
    width = tl.load(row + 3)
    pixels = tl.load(row + 4)
    first_block = tl.load(row + 5)
    first = (block - first_block) * BLOCK
    # The division of int64 is one of a program; within a block int32 is enough.
    line = first // width
    column = (first - line * width).to(tl.int32) + tl.arange(0, BLOCK)
    narrow = width.to(tl.int32)
    x = tl.load(row + 1).to(tl.int32) + column % narrow
    y = (tl.load(row + 2) + line).to(tl.int32) + column // narrow
    inside = first + tl.arange(0, BLOCK) < pixels
    return window, first_block, pixels, tl.load(row) + first + tl.arange(0, BLOCK), x, y, inside
