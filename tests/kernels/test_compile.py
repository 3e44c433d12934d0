"""The three operators in a row, as the block uses them, through Inductor."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from srzoo_kernels import channel_affine, gram, graph_reason


def block(x, adjacency, weight, transform):
    second, first = gram(x)
    pixels = x.shape[2] * x.shape[3]
    z = graph_reason((second.diagonal(dim1=1, dim2=2) + first) / pixels, adjacency, weight)
    return channel_affine(x, (transform * z[:, None, :]) @ transform, z)


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_inductor_equals_eager_and_does_not_recompile(memory_format, device):
    torch._dynamo.reset()
    torch.use_deterministic_algorithms(False)  # Inductor would have to fill its buffers, too
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(block, backend=counter, fullgraph=True)
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.randn(side, side, generator=generator, requires_grad=True) for side in (4, 6, 24)]
    compiled_frames = []
    for size in [(8, 12), (9, 14), (17, 23), (33, 47)]:
        x = torch.randn(2, 24, *size, generator=generator).to(memory_format=memory_format).requires_grad_()
        runs = []
        for function in (block, compiled):
            y = function(x, *parameters)
            runs.append([y, *torch.autograd.grad(y.square().mean(), [x, *parameters])])
        torch.testing.assert_close(*runs, rtol=1e-4, atol=1e-4)
        compiled_frames.append(counter.frame_count)
    # The second size marks the sizes dynamic; after that the same code serves.
    assert compiled_frames == [1, 2, 2, 2]
