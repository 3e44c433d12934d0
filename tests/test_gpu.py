"""What only a GPU can show: CUDA graphs, streams, large offsets. ``pytest -m gpu`` runs the operators' tests, too."""

import pytest
import torch
from PIL import Image
from torch import nn

import srzoo
from srzoo.layers import SqueezeReasoning
from srzoo.models.folded_block import FoldedBlock
from srzoo_kernels import (
    check_labels,
    conv2d_act,
    gram,
    upsample_argmax,
    upsample_bilinear,
    upsample_cross_entropy,
)
from srzoo_kernels.conv2d_act import op as conv2d_act_op

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _only_there(device):
    if device != "cuda":
        pytest.skip("no GPU")


@pytest.fixture
def exact_float32(monkeypatch):
    """cuDNN takes TF32 for float32 unless it is told not to."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def block(channels, dtype):
    torch.manual_seed(0)
    module = SqueezeReasoning(channels)
    nn.init.normal_(module.project.weight, std=0.1)
    return module.cuda().to(dtype).eval()


def captured(call):
    """The graph of a call, and the result that a replay overwrites."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()
    return graph, result


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("shape", [(1, 128, 64, 72), (8, 64, 33, 47), (1, 192, 33, 48), (1, 512, 64, 64)], ids=str)
@pytest.mark.usefixtures("exact_float32")
def test_the_block_without_a_gradient_is_as_accurate_as_the_direct_form(shape, memory_format, dtype):
    module, exact = block(shape[1], dtype), block(shape[1], torch.float64)
    exact.load_state_dict({name: value.double() for name, value in module.state_dict().items()})
    x = torch.randn(shape, device="cuda").relu().to(dtype).contiguous(memory_format=memory_format)
    with torch.no_grad():
        y, own, truth = module(x), module.forward_direct(x), exact.forward_direct(x.double())
        assert torch.equal(y, module(x)) and y.is_contiguous(memory_format=memory_format)
        error, allowed = ((each.double() - truth).norm() for each in (y, own))
        assert error <= 2 * allowed + torch.finfo(dtype).eps * truth.norm()
        conv = nn.Conv2d(shape[1], 16, 3, padding=1).cuda().to(dtype)
        found, own = FoldedBlock(module, conv)(x), conv(module.forward_direct(x))
        truth = conv.double()(truth)
        # cuDNN may take an algorithm for float32 that rounds more than sums do, as Winograd's.
        error, allowed = ((each.double() - truth).norm() for each in (found, own))
        assert error <= 2 * allowed + 16 * torch.finfo(dtype).eps * truth.norm()


FAMILIES = {
    "lite0": ("srnet_lite0", {}),
    "dfnet": ("dfseg_v1", {"context": "sr"}),
    "resnet": ("srnet", {"backbone": "resnet18", "channels": 64, "nodes": 8}),
    "bottlenecks": ("srnet", {"backbone": "resnet26", "channels": 64, "nodes": 8}),
}


def family(name):
    """A model of a family, with statistics of noise, so that half precision does not overflow."""
    torch.manual_seed(0)
    architecture, options = FAMILIES[name]
    model = srzoo.create_model(architecture, num_classes=19, **options).cuda()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(torch.randn(4, 3, 160, 224, device="cuda"))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return model.eval()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("exact_float32")
def test_a_fused_model_is_as_accurate_as_the_model(name, dtype, memory_format):
    model = family(name)
    x = torch.randn(2, 3, 193, 255, device="cuda").contiguous(memory_format=memory_format)
    with torch.inference_mode():
        fused = srzoo.fuse(model, dtype=dtype).to(memory_format=memory_format)(x.to(dtype))
        exact = model.double()(x.double())
        own = model.to(dtype, memory_format=memory_format)(x.to(dtype))
    error, allowed = ((each.double() - exact).norm() for each in (fused, own))
    assert fused.dtype == dtype and error <= 2 * allowed + torch.finfo(dtype).eps * exact.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_reduce_overhead_replays_every_family(name):
    model, counters = family(name), torch._dynamo.utils.counters
    counters.clear()
    fused = srzoo.fuse(model, dtype=torch.float16).to(memory_format=torch.channels_last)
    compiled = torch.compile(fused, mode="reduce-overhead", fullgraph=True)
    with torch.inference_mode():
        for _ in range(4):
            x = torch.randn(1, 3, 192, 256, device="cuda", dtype=torch.float16)
            x = x.contiguous(memory_format=torch.channels_last)
            expected = fused(x)
            assert (compiled(x) - expected).norm() <= 0.01 * expected.norm()
    assert not counters["inductor"]["cudagraph_skips"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_reduce_overhead_replays_a_training_step(name):
    model, counters = family(name).train(), torch._dynamo.utils.counters
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    counters.clear()

    def step(x, target):
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(x, return_aux=True, upsample=False)
        return sum(upsample_cross_entropy(each, target, ohem=(0.7, 1000)) for each in logits)

    compiled = torch.compile(step, mode="reduce-overhead", fullgraph=True)
    for _ in range(4):
        x = torch.randn(2, 3, 128, 160, device="cuda")
        target = torch.randint(19, (2, 128, 160), device="cuda")
        found = []
        for each in (compiled, step):
            model.zero_grad()
            loss = each(x, target)
            loss.backward()
            gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
            found.append((loss.detach().clone(), gradient))
        (loss, gradient), (expected, own) = found
        assert abs(loss - expected) < 0.02 * expected and (gradient - own).norm() < 0.1 * own.norm()
    assert not counters["inductor"]["cudagraph_skips"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_matrix_at_every_pixel_with_a_bias(dtype):
    x = torch.randn(2, 48, 19, 23, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = (torch.randn(shape, device="cuda", dtype=dtype) for shape in ((40, 48, 1, 1), (40,)))
    found, expected = conv2d_act(x, weight, bias), nn.functional.conv2d(x.double(), weight.double(), bias.double())
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).norm() <= 4 * torch.finfo(
        dtype if dtype != torch.float32 else torch.float16
    ).eps * expected.norm()


def test_cudnn_takes_bias_and_relu_in_every_dtype(monkeypatch):
    monkeypatch.setattr(conv2d_act_op, "_TOO_SLOW", float("inf"))  # small convolutions take a time by chance
    monkeypatch.setattr(conv2d_act_op, "_choices", {})
    for dtype in DTYPES:
        x = torch.randn(1, 64, 20, 24, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last)
        weight, bias = (
            torch.randn(64, 64, 3, 3, device="cuda", dtype=dtype),
            torch.randn(64, device="cuda", dtype=dtype),
        )
        conv2d_act(x, weight, bias, "relu", padding=(1, 1, 1, 1))
    assert list(conv2d_act_op._choices.values()) == [True] * len(DTYPES)


@pytest.mark.parametrize("rate", [4, 8, 16])
def test_no_dilated_convolution_is_left_to_a_slow_engine(rate):
    x = torch.randn(1, 512, 128, 256, device="cuda", dtype=torch.float16).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(512, 512, 3, 3, device="cuda", dtype=torch.float16).contiguous(
        memory_format=torch.channels_last
    )
    bias = torch.randn(512, device="cuda", dtype=torch.float16)
    padding, dilation = (rate,) * 4, (rate,) * 2
    together = conv2d_act_op._milliseconds(
        lambda: conv2d_act(x, weight, bias, "relu", padding=padding, dilation=dilation)
    )
    alone = conv2d_act_op._milliseconds(lambda: nn.functional.conv2d(x, weight, None, 1, rate, rate))
    assert together < 5 * alone


def test_a_graph_replays_the_block_on_new_inputs_and_weights():
    module, x = block(128, torch.float16), torch.randn(1, 128, 64, 64, device="cuda", dtype=torch.float16)
    with torch.inference_mode():
        graph, y = captured(lambda: module(x))
        for _ in range(2):
            x.normal_()
            module.project.weight.neg_()
            graph.replay()
            torch.cuda.synchronize()
            assert torch.equal(y, module(x))


@pytest.mark.parametrize("ohem", [None, (0.3, 1000)])
def test_a_graph_replays_a_training_step_of_the_loss(ohem):
    logits = torch.randn(2, 19, 16, 24, device="cuda", dtype=torch.float16)
    target = torch.randint(19, (2, 128, 192), device="cuda")

    def step():
        leaf = logits.detach().requires_grad_()
        loss = upsample_cross_entropy(leaf, target, ohem=ohem)
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    graph, found = captured(step)
    logits.normal_()
    target.random_(19)
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(*pair) for pair in zip(found, step(), strict=True))


def test_a_training_step_of_the_loss_does_not_wait():
    logits = torch.randn(2, 19, 16, 24, device="cuda").requires_grad_()
    target = torch.randint(19, (2, 128, 192), device="cuda")
    for ohem in (None, (0.3, 1000)):
        upsample_cross_entropy(logits, target, ohem=ohem).backward()
        torch.cuda.set_sync_debug_mode("error")
        try:
            upsample_cross_entropy(logits, target, ohem=ohem).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_wrong_label_is_nan_and_told_afterwards():
    logits = torch.randn(1, 3, 4, 4, device="cuda").requires_grad_()
    target = torch.full((1, 16, 16), 7, device="cuda")
    loss = upsample_cross_entropy(logits, target)
    loss.backward()
    assert loss.isnan() and logits.grad.isnan().all()
    with pytest.raises(ValueError, match=r"0\.\.2\b.*\b256 .*\b7$"):
        check_labels(target, 3)


@pytest.mark.parametrize("align_corners", [False, True])
def test_no_pixel_of_a_wide_target_is_lost(align_corners):
    """Beyond 10^5 outputs float32 does not tell by a hundredth where the cells between two source pixels begin."""
    target = torch.randint(2, (1, 1, 300007), device="cuda")
    logits = torch.randn(1, 2, 1, 3001, device="cuda").requires_grad_()
    full = nn.functional.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=align_corners)
    losses = (
        upsample_cross_entropy(logits, target, align_corners=align_corners),
        nn.functional.cross_entropy(full, target),
    )
    found, expected = (torch.autograd.grad(loss, logits)[0] for loss in losses)
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


def test_calls_on_several_streams_do_not_meet():
    inputs = [torch.randn(1, 256, 96, 96, device="cuda", dtype=torch.float16) for _ in range(4)]
    expected = [gram(x)[0] for x in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]
    torch.cuda.synchronize()
    for _ in range(20):
        found = []
        for x, stream in zip(inputs, streams, strict=True):
            with torch.cuda.stream(stream):
                found.append(gram(x)[0])
        torch.cuda.synchronize()
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_another_size_another_alignment_and_tf32_in_turn():
    flat = torch.randn(2 * 64 * 40 * 48 + 8, device="cuda")
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for _ in range(3):
            for tf32 in (False, True):
                torch.backends.cuda.matmul.allow_tf32 = tf32
                for start, side in ((0, 48), (1, 48), (0, 47), (3, 47)):
                    x = flat[start:][: 2 * 64 * 40 * side].view(2, 64, 40, side)
                    matrix = x.double().flatten(2)
                    error = (gram(x)[0] - matrix @ matrix.mT).norm() / (matrix @ matrix.mT).norm()
                    assert error < (2e-3 if tf32 else 1e-5)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.slow
def test_offsets_beyond_32_bits_in_channels_last_logits():
    """150 classes at 4096x4096 are 2.5e9 numbers: 5 GB in float16."""
    logits = torch.zeros(1, 150, 4096, 4096, device="cuda", dtype=torch.float16)
    logits = logits.contiguous(memory_format=torch.channels_last)
    logits[0, 149, 4095] = 1
    labels = upsample_argmax(logits, (4096, 4096))
    assert (labels[0, 4095] == 149).all() and not labels[0, :4095].any()


@pytest.mark.slow
def test_offsets_beyond_32_bits_in_resized_logits():
    """The same in the result."""
    logits = torch.zeros(1, 150, 8, 8, device="cuda", dtype=torch.float16)
    logits[0, 149] = 1
    resized = upsample_bilinear(logits, (4096, 4096))
    assert (resized[0, 149] == 1).all() and not resized[0, :149].any()


def test_half_precision_and_graphs_give_the_labels_of_float32(examples):
    pictures = [Image.open(examples / f"{name}.png") for name in ("street", "cyclist", "crossing")]
    expected = srzoo.Segmenter("srnet_lite0_camvid", "cuda", precision="float32")
    for graph in (False, True):
        segmenter = srzoo.Segmenter("srnet_lite0_camvid", "cuda", graph=graph)
        assert next(segmenter.model.parameters()).dtype == torch.float16
        for _ in range(3):  # the third is replayed
            for picture in pictures:
                assert (segmenter(picture).labels == expected(picture).labels).mean() > 0.999
    assert any(segmenter._replay._graphs.values())
