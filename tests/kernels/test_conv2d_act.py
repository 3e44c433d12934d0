"""`conv2d_act` against ``reference.py`` in float64, by each of the ways that it takes."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F

from srzoo_kernels import conv2d_act, serves_conv2d_act
from srzoo_kernels.conv2d_act import op
from srzoo_kernels.conv2d_act.reference import conv2d_act as reference

# Every activation, and every dtype: all pairs would take the interpreter minutes.
KINDS = [
    ("identity", torch.float32),
    ("relu", torch.float32),
    ("relu6", torch.float32),
    ("relu6", torch.float16),
    ("relu", torch.bfloat16),
]


def drawn(shape, dtype, device, channels_last=False):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(device, dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def compare(x, weight, bias, residual, dtype, **options):
    """The operator's error against float64 is at most twice the library's own, plus a rounding of the result."""
    operands = [x, weight, bias]
    y, own = conv2d_act(*operands, residual=residual, **options), reference(*operands, residual=residual, **options)
    wide = [None if each is None else each.double() for each in (*operands, residual)]
    exact = reference(*wide[:3], residual=wide[3], **options)
    assert y.dtype == dtype and y.shape == exact.shape and y.stride() == own.stride()
    error, allowed = ((each.double() - exact).norm().item() for each in (y, own))
    assert error <= 2 * allowed + torch.finfo(dtype).eps * exact.norm().item()


@pytest.mark.parametrize(("activation", "dtype"), KINDS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (3, 1, (1, 1, 1, 1), 1),
        (3, 2, (0, 1, 0, 1), 1),
        (5, 1, (4, 4, 4, 4), 2),
        (5, 2, (1, 2, 2, 2), 1),
        (3, 1, (0, 0, 0, 0), 3),
    ],
)
def test_one_filter_for_each_channel(kernel, stride, padding, dilation, activation, dtype, device):
    # Two tiles of rows, of columns and of channels, then two images: an interpreted program takes a tenth of a second.
    for shape in ((1, 33, 7, 17), (2, 7, 7, 9)):
        x = drawn(shape, dtype, device, channels_last=True)
        weight, bias = drawn((kernel, kernel, shape[1]), dtype, device), drawn((shape[1],), dtype, device)
        options = {"stride": (stride,) * 2, "padding": padding, "dilation": (dilation,) * 2, "activation": activation}
        compare(2 * x, weight, bias, None, dtype, **options)
    compare(x, weight, None, None, dtype, **options)
    compare(x.contiguous(), weight, bias, None, dtype, **options)


@pytest.mark.parametrize(("activation", "dtype"), KINDS)
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "options"),
    [
        (16, 24, 1, {}),
        (16, 24, 1, {"stride": (2, 2)}),
        (24, 16, 3, {"padding": (2, 2, 2, 2), "dilation": (2, 2)}),
        (3, 32, 3, {"padding": (0, 1, 0, 1), "stride": (2, 2)}),
        (19, 7, 3, {"padding": (1, 1, 1, 1)}),
        (16, 24, 3, {"padding": (1, 1, 1, 1), "groups": 4}),
        (8, 16, 3, {"padding": (1, 1, 0, 0), "stride": (2, 1)}),
    ],
)
def test_any_other_convolution(channels, outputs, kernel, options, activation, channels_last, dtype, device):
    x = drawn((2, channels, 15, 22), dtype, device, channels_last)
    weight = drawn((outputs, channels // options.get("groups", 1), kernel, kernel), dtype, device, channels_last) / 4
    bias = drawn((outputs,), dtype, device)
    options = {**options, "activation": activation}
    shape = reference(x, weight, bias, **options).shape
    for other_format in (channels_last, not channels_last):
        compare(x, weight, bias, drawn(shape, dtype, device, other_format), dtype, **options)
    compare(x, weight, None, drawn(shape, dtype, device), dtype, **options)
    compare(x, weight, bias, None, dtype, **options)
    compare(x, weight, None, None, dtype, **options)


def test_nan_and_infinity_pass_as_in_the_library(device):
    x = drawn((1, 8, 6, 6), torch.float32, device, channels_last=True)
    x[0, 1, 2, 3], x[0, 2, 2, 3], x[0, 3, 0, 0] = float("nan"), float("inf"), -float("inf")
    weight = torch.ones(1, 1, 8, device=device).expand(3, 3, 8).contiguous()
    for activation in ("identity", "relu", "relu6"):
        options = {"padding": (1, 1, 1, 1), "activation": activation}
        for each in (weight, torch.eye(8, device=device)[:, :, None, None].expand(8, 8, 3, 3).contiguous()):
            found, expected = (
                conv2d_act(x, each, x[0, :, 5, 5], **options),
                reference(x, each, x[0, :, 5, 5], **options),
            )
            torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_bias_of_any_strides(channels_last, device):
    x = drawn((2, 8, 5, 6), torch.float32, device, channels_last)
    for bias in (drawn((16,), torch.float32, device)[::2], drawn((1,), torch.float32, device).expand(8)):
        for shape in ((3, 3, 8), (8, 8, 1, 1)):
            compare(x, drawn(shape, torch.float32, device), bias, None, torch.float32, activation="relu6")


def test_an_empty_batch(device):
    for weight in (torch.randn(3, 3, 8, device=device), torch.randn(5, 8, 3, 3, device=device)):
        x = torch.randn(0, 8, 9, 7, device=device).contiguous(memory_format=torch.channels_last)
        bias = torch.randn(8 if weight.dim() == 3 else 5, device=device)
        with torch.no_grad():
            y = conv2d_act(x, weight, bias, "relu", padding=(1, 1, 1, 1))
        assert y.shape == (0, len(bias), 9, 7)


def test_gradients_are_the_library_s(device):
    x, weight = torch.randn(1, 4, 5, 6, device=device), torch.randn(4, 4, 3, 3, device=device, requires_grad=True)
    assert not serves_conv2d_act(x, weight)
    residual = torch.randn(1, 4, 3, 4, device=device)
    found, expected = conv2d_act(x, weight, None, "relu", residual), F.relu(F.conv2d(x, weight) + residual)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), weight)[0] for y in (found, expected)))


def test_autocast_s_dtype(device):
    x, weight = torch.randn(1, 4, 5, 6, device=device), torch.randn(4, 4, 1, 1, device=device)
    with torch.autocast(device, torch.bfloat16), torch.no_grad():
        assert conv2d_act(x, weight, torch.randn(4, device=device), "relu").dtype == torch.bfloat16
        assert conv2d_act(x.double(), weight.double(), activation="relu").dtype == torch.float64  # as of `conv2d`


def test_other_dimensions_are_the_library_s(device):
    x, weight = torch.randn(4, 5, 6, device=device), torch.randn(3, 4, 3, 3, device=device)
    torch.testing.assert_close(conv2d_act(x, weight, activation="relu"), F.relu(F.conv2d(x, weight)))
    with pytest.raises(RuntimeError, match=r"conv2d.*\[\]"):
        conv2d_act(x[0, 0, 0], weight)


def test_an_activation_that_there_is_not(device):
    with pytest.raises(ValueError, match="identity, relu, relu6.*'gelu'"):
        conv2d_act(torch.randn(1, 4, 5, 6, device=device), torch.randn(4, 4, 1, 1, device=device), activation="gelu")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"residual": (1, 6, 5, 6)}, r"residual of shape \(2, 6, 5, 6\), got \(1, 6, 5, 6\)"),
        ({"residual": (2, 6, 1, 1)}, r"residual.*\(2, 6, 1, 1\)"),
        ({"bias": (3,)}, r"bias of shape \(6,\), got \(3,\)"),
        ({"weight": (6, 4, 1, 1)}, r"8 channels, got \(6, 4, 1, 1\) in 1 groups"),
        ({"weight": (3, 3, 4)}, r"8 channels, got \(3, 3, 4\)"),
        ({"weight": (6, 8, 7, 1)}, r"5x6 is smaller than the kernel, 7x1"),
        ({"x": (2, 8, 5)}, r"\(N, C, H, W\).*\(2, 8, 5\)"),
    ],
)
def test_shapes_that_do_not_fit(changed, message):
    shapes = {"x": (2, 8, 5, 6), "weight": (6, 8, 1, 1), "bias": (6,), "residual": (2, 6, 5, 6), **changed}
    x, weight, bias, residual = map(torch.randn, shapes.values())
    with pytest.raises(ValueError, match=message):
        torch.ops.srzoo.conv2d_act(x, weight, bias, residual, "relu", [1, 1], [0, 0, 0, 0], [1, 1], 1)
    with pytest.raises(ValueError, match=r"one dtype.*float16"):
        torch.ops.srzoo.conv2d_act(
            torch.randn(1, 6, 3, 3), torch.randn(3, 3, 6).half(), None, None, "relu", [1, 1], [0] * 4, [1, 1], 1
        )


@pytest.mark.parametrize("side", [(2160, 4096), (4096, 4096)])
def test_no_grid_is_too_large(side):
    pytest.importorskip("triton")
    from srzoo_kernels.conv2d_act._triton import plan_depthwise
    from srzoo_kernels.launch import H100

    x = torch.empty_strided((2, 32, *side), (32 * side[0] * side[1], 1, 32 * side[1], 32), device="meta")
    (launch,), (y,) = plan_depthwise(x, x.new_empty(3, 3, 32), None, 1, (1, 1, 1, 1), 1, "relu6", H100)
    assert y.shape == x.shape and max(launch.grid[1:]) <= 65535 and launch.grid[0] < 2**31


def test_more_outputs_than_32_bits_count_are_the_library_s():
    x = torch.empty(1, 8, 16, 16).contiguous(memory_format=torch.channels_last)
    weight, rest = torch.empty(7, 7, 8), (None, (1, 1))
    assert op._is_for_the_kernel(x, weight, *rest, (18,) * 4, (3, 3))
    assert not op._is_for_the_kernel(x, weight, *rest, (18000,) * 4, (3000, 3000))  # 8 x 18016 x 18016


def test_forward_mode_ad_is_the_library_s(device):
    x, weight = torch.randn(1, 4, 5, 6, device=device), torch.randn(4, 4, 1, 1, device=device)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        found, expected = conv2d_act(dual, weight, activation="relu"), F.relu(F.conv2d(dual, weight))
        pairs = (torch.autograd.forward_ad.unpack_dual(each) for each in (found, expected))
        for ours, theirs in zip(*pairs, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("weight", [torch.randn(3, 3, 8), torch.randn(5, 8, 3, 3)], ids=["depthwise", "dense"])
def test_registration(weight, device):
    x = torch.randn(2, 8, 9, 7, device=device).contiguous(memory_format=torch.channels_last)
    bias = torch.randn(8 if weight.dim() == 3 else 5, device=device)
    operands = (x, weight.to(device), bias, None, "relu6", [2, 2], [0, 1, 0, 1], [1, 1], 1)
    torch.library.opcheck(torch.ops.srzoo.conv2d_act.default, operands)


@pytest.fixture
def timing(monkeypatch):
    """What `_milliseconds` returns for the two ways, or raises, and how often each was asked, without a GPU."""
    found, asked = {"_by_cudnn": 1.0, "_in_two": 1.0}, []

    def milliseconds(call, *operands):
        asked.append(call.__name__)
        if isinstance(found[call.__name__], Exception):
            raise found[call.__name__]
        return found[call.__name__]

    monkeypatch.setattr(op, "_milliseconds", milliseconds)
    monkeypatch.setattr(op, "_choices", {})
    monkeypatch.setattr(torch, "cudnn_convolution_relu", lambda x, weight, bias, *geometry: x + 1)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    torch.use_deterministic_algorithms(False)
    return found, asked


def is_for_cudnn(width=6):
    operands = torch.randn(1, 4, 5, width), torch.randn(4, 4, 1, 1), torch.randn(4), None
    return op._fast_by_cudnn(*operands, (1, 1), (0, 0), (1, 1)) is not None


def test_cudnn_s_refusal_is_kept(timing):
    found, asked = timing
    found["_by_cudnn"] = RuntimeError("cuDNN error: no engine")
    for deterministic in (True, False, False):  # a deterministic cuDNN is not asked
        torch.use_deterministic_algorithms(deterministic)
        assert not is_for_cudnn()
    assert len(asked) == 1


def test_cudnn_s_refusal_of_another_size_is_kept(timing, monkeypatch):
    assert is_for_cudnn()

    def refuse(*operands):
        raise RuntimeError("cuDNN error: no engine")

    monkeypatch.setattr(torch, "cudnn_convolution_relu", refuse)
    assert not is_for_cudnn(5) and not is_for_cudnn()


def test_a_convolution_for_which_cudnn_has_a_slow_engine_alone_is_left_to_two_calls(timing):
    found, asked = timing
    found["_by_cudnn"] = 90.0
    assert not is_for_cudnn() and not is_for_cudnn() and len(asked) == 2
    found["_by_cudnn"] = 1.4  # within what a measurement may be off
    assert is_for_cudnn(12) and is_for_cudnn(12) and len(asked) == 4


def test_images_of_nearly_one_size_are_timed_once(timing):
    assert is_for_cudnn(4) and is_for_cudnn(5) and is_for_cudnn(6) and len(timing[1]) == 2  # 20, 25 and 30 pixels
    assert is_for_cudnn(7) and len(timing[1]) == 4


def test_nothing_is_timed_while_a_graph_is_captured(timing, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert not is_for_cudnn() and not timing[1]
    assert is_for_cudnn()


def test_running_out_of_memory_is_no_refusal(timing):
    timing[0]["_by_cudnn"] = torch.OutOfMemoryError("no memory")
    with pytest.raises(torch.OutOfMemoryError):
        is_for_cudnn()
    timing[0]["_by_cudnn"] = 1.0
    assert is_for_cudnn()
