"""The shape of a convolution's result."""

from functools import lru_cache


@lru_cache(maxsize=8192)  # on the way of every call
def output_shape(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> tuple[int, int, int, int]:
    """``(N, O, H', W')`` for ``x`` ``(N, C, H, W)``; the other arguments as ``op.conv2d_act`` has them.

    Raises:
        ValueError: the weight is for another number of channels, or no output is left.
    """
    depthwise = len(weight) == 3
    kernel, outputs = (weight[:2], weight[2]) if depthwise else (weight[2:], weight[0])
    if (outputs if depthwise else weight[1] * groups) != x[1]:
        raise ValueError(f"expected weight for {x[1]} channels, got {tuple(weight)} in {groups} groups")
    top, bottom, left, right = padding
    reach = [rate * (side - 1) + 1 for rate, side in zip(dilation, kernel)]
    sizes = (x[2] + top + bottom, x[3] + left + right)
    height, width = ((a - b) // step + 1 for a, b, step in zip(sizes, reach, stride))
    if min(height, width) < 1:
        raise ValueError(f"a padded x of {sizes[0]}x{sizes[1]} is smaller than the kernel, {reach[0]}x{reach[1]}")
    return x[0], outputs, height, width
