"""The resize on its own; ``test_interpreter.py`` runs this file where there is no GPU, too."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import upsample_bilinear
from srzoo_kernels.launch import interpreted, kernels_of, triton_serves
from srzoo_kernels.prepared.plan import forget

OPERATOR = torch.ops.srzoo.upsample_bilinear.default
CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
corners = pytest.mark.parametrize("align_corners", [False, True])
formats = pytest.mark.parametrize("memory_format", [CONTIGUOUS, CHANNELS_LAST], ids=str)


def random_logits(shape, dtype=torch.float32, memory_format=CONTIGUOUS, device="cpu"):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(device, dtype).contiguous(memory_format=memory_format)


def assert_resized(resized, logits, size, align_corners=False):
    """Triton's against the library's in float64: one rounding of the result, and that of a position. Else the same."""
    if not triton_serves(logits):
        assert torch.equal(resized, F.interpolate(logits, size, mode="bilinear", align_corners=align_corners))
        return
    expected = F.interpolate(logits.double().cpu(), size, mode="bilinear", align_corners=align_corners)
    assert (resized.dtype, resized.device, resized.shape) == (logits.dtype, logits.device, expected.shape)
    assert resized.is_contiguous()
    wide = torch.finfo(torch.float64 if logits.dtype == torch.float64 else torch.float32)
    # The position's last place, times what neighbours differ by.
    moved = 4 * (1 + max(logits.shape[2:])) * wide.eps * float(logits.abs().amax())
    rounded = torch.finfo(logits.dtype).eps * 0.505
    if interpreted() and logits.dtype == torch.bfloat16:  # which the interpreter rounds towards zero
        rounded *= 2
    torch.testing.assert_close(resized.double().cpu(), expected, rtol=rounded, atol=moved)


@pytest.mark.parametrize(("memory_format", "align_corners"), [(CONTIGUOUS, True), (CHANNELS_LAST, False)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3, 3, 4), (24, 32)),  # eight rows a tile, of three source rows
        ((1, 3, 3, 5), (12, 20)),  # eight, of four
        ((1, 1, 3, 33), (7, 130)),  # four, and a second tile of columns
        ((1, 2, 7, 5), (9, 11)),
        ((1, 2, 7, 5), (4, 3)),
        ((1, 2, 6, 6), (6, 6)),
        ((1, 3, 1, 1), (5, 3)),
        ((1, 4, 1, 3), (1, 9)),
    ],
    ids=str,
)
def test_values_are_the_library_s_in_float64(shape, size, dtype, memory_format, align_corners, device):
    logits = random_logits(shape, dtype, memory_format, device)
    resized = upsample_bilinear(logits, size, align_corners)
    assert_resized(resized, logits, size, align_corners)
    direct = OPERATOR(logits, *size, align_corners)
    assert torch.equal(resized, direct) and direct.is_contiguous()


@corners
@pytest.mark.parametrize(("shape", "memory_format"), [((3, 19, 2, 2), CONTIGUOUS), ((1, 150, 2, 3), CHANNELS_LAST)])
def test_several_classes_a_program(shape, memory_format, align_corners, device, monkeypatch):
    if triton_serves(torch.empty(0, device=device)):
        kernels = kernels_of("srzoo_kernels.upsample_bilinear")
        monkeypatch.setattr(kernels, "classes_per_program", lambda *of: 7)
    forget()
    logits = random_logits(shape, torch.float16, memory_format, device)
    assert_resized(upsample_bilinear(logits, (8, 13), align_corners), logits, (8, 13), align_corners)
    forget()


def test_views_and_batches(device):
    logits = random_logits((3, 7, 6, 20), device=device)
    view = logits[:, 1:6, ::2, 3:17:3]
    assert_resized(upsample_bilinear(view, (20, 31)), view, (20, 31))
    constant = random_logits((1, 7, 1, 1), device=device).expand(2, 7, 4, 4)
    assert_resized(upsample_bilinear(constant, (9, 9)), constant, (9, 9))
    assert upsample_bilinear(logits[:0], (9, 9)).shape == (0, 7, 9, 9)


@corners
def test_a_gradient_is_the_library_s(align_corners, device):
    logits = random_logits((2, 3, 4, 5), device=device).requires_grad_()
    expected = F.interpolate(logits, (9, 11), mode="bilinear", align_corners=align_corners)
    resized = upsample_bilinear(logits, (9, 11), align_corners)
    assert torch.equal(resized, expected)
    weight = torch.randn_like(expected)
    pairs = (torch.autograd.grad(each, logits, weight)[0] for each in (resized, expected))
    torch.testing.assert_close(*pairs)


def test_transforms_take_the_library_s(device):
    logits = random_logits((2, 3, 4, 5), device=device)
    expected = F.interpolate(logits, (9, 11), mode="bilinear")
    each = torch.func.vmap(lambda x: upsample_bilinear(x[None], (9, 11))[0])(logits)
    for found in (each, *torch.func.jvp(lambda x: upsample_bilinear(x, (9, 11)), (logits,), (logits,))):
        torch.testing.assert_close(found, expected)


def called_on_a_gpu(function, *options, **given):
    """Targets of the graph of ``function`` on a fake GPU."""
    with FakeTensorMode():
        logits = torch.empty(1, 3, 4, 5, device="cuda", **given)
        graph = make_fx(lambda: function(logits, *options))()
    return {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_a_gpu_takes_the_operator_where_no_gradient_is_wanted(dtype):
    pytest.importorskip("triton")
    own = "srzoo.upsample_bilinear.default"
    assert own in called_on_a_gpu(upsample_bilinear, (9, 11), dtype=dtype)
    assert own not in called_on_a_gpu(upsample_bilinear, (9, 11), dtype=dtype, requires_grad=True)
    with torch.no_grad():
        assert own in called_on_a_gpu(upsample_bilinear, (9, 11), dtype=dtype, requires_grad=True)


def test_a_trace_has_the_library_s(device):
    class Resize(torch.nn.Module):
        def forward(self, x):
            return upsample_bilinear(x, (2 * x.shape[2], 3 * x.shape[3]))

    # A deterministic resize of a GPU is PyTorch code, whose sizes a trace would keep as numbers.
    torch.use_deterministic_algorithms(False)
    logits, other = (random_logits(shape, device=device) for shape in ((1, 3, 4, 5), (1, 3, 6, 4)))
    traced = torch.jit.trace(Resize(), logits)
    assert "srzoo" not in str(traced.graph)
    torch.testing.assert_close(traced(other), F.interpolate(other, (12, 12), mode="bilinear"))
    exported = torch.export.export(Resize(), (logits,)).graph_module.code
    assert "upsample_bilinear2d" in exported and "srzoo" not in exported


def test_compiles_whole_and_once_for_all_sizes():
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(upsample_bilinear, fullgraph=True, dynamic=True, backend=counter)
    for sides in ((8, 9), (5, 14), (12, 7)):
        logits, size = random_logits((2, 4, *sides)), (sides[0] * 4, sides[1] * 3)
        assert torch.equal(compiled(logits, size), F.interpolate(logits, size, mode="bilinear"))
    assert counter.frame_count == 1
    targets = {node.target for graph in counter.graphs for node in graph.graph.nodes}
    assert OPERATOR not in targets


@formats
def test_opcheck(memory_format, device):
    logits = random_logits((2, 2, 3, 4), memory_format=memory_format, device=device)
    torch.library.opcheck(OPERATOR, (logits, 9, 10, False))
    torch.library.opcheck(OPERATOR, (logits, 2, 10, True))


def test_operations_are_counted(device):
    with FlopCounterMode(display=False) as counter:
        OPERATOR(random_logits((2, 3, 4, 4), device=device), 8, 10, False)
    assert counter.get_total_flops() == 3 * 2 * 3 * 8 * 10


@pytest.mark.skipif(interpreted(), reason="the interpreter compiles nothing")
def test_a_call_is_one_launch_that_is_kept(idle):
    logits = random_logits((1, 19, 4, 6), torch.float16, CHANNELS_LAST)
    for calls in (1, 2):
        resized = upsample_bilinear(logits, (32, 48))
        assert idle.count == calls
    assert (resized.shape, resized.dtype, resized.is_contiguous()) == ((1, 19, 32, 48), torch.float16, True)
    assert idle.launches[0].grid == idle.launches[1].grid == (1, 4, 19)
    assert upsample_bilinear(logits[:0], (32, 48)).shape == (0, 19, 32, 48)
    assert idle.count == 2


@pytest.mark.parametrize("shape", [(1, 19, 128, 256), (4, 150, 16, 16), (3, 70000, 2, 2), (1, 1, 1, 1)], ids=str)
def test_programs_cover_every_class_once(shape):
    pytest.importorskip("triton")
    from srzoo_kernels.launch import H100
    from srzoo_kernels.upsample_bilinear._triton import plan_upsample_bilinear

    n, k, h, w = shape
    (launch,), _ = plan_upsample_bilinear(torch.empty(shape, device="meta"), 8 * h, 8 * w, False, H100)
    groups, per_group = launch.arguments["groups"], launch.arguments["per_group"]
    assert (groups - 1) * per_group < k <= groups * per_group
    assert launch.grid[2] == n * groups <= 65535
