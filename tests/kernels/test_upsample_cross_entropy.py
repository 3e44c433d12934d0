import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import check_labels, upsample_cross_entropy
from srzoo_kernels.upsample_cross_entropy.library import upsample_cross_entropy_library
from srzoo_kernels.upsample_cross_entropy.reference import upsample_cross_entropy as reference
from tests.kernels.properties import given, settings, st


def sample(n, k, source, size, ignored=0.2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, k, *source, generator=generator, dtype=torch.float64)
    target = torch.randint(k, (n, *size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits.to(dtype), target


def both(function, logits, *arguments, **options):
    """Loss and gradient, the latter seeded with 0.7."""
    logits = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    loss = function(logits, *arguments, **options)
    return loss.detach(), torch.autograd.grad(loss * 0.7, logits)[0]


def assert_equal(ours, expected, tolerance):
    """The loss relative to itself, the gradient relative to its largest entry."""
    torch.testing.assert_close(ours[0].double(), expected[0].double(), rtol=tolerance, atol=tolerance * 1e-3)
    largest = expected[1].double().abs().amax() if expected[1].numel() else 0
    assert ours[1].shape == expected[1].shape
    assert ((ours[1].double() - expected[1].double()).abs() <= tolerance * largest + 1e-14).all()


OPTIONS = {
    "plain": {},
    "aligned": {"align_corners": True},
    "weighted": {"weighted": True},
    "smoothed": {"label_smoothing": 0.1},
    "weighted and smoothed": {"weighted": True, "label_smoothing": 0.3},
    "mined below a threshold": {"ohem": (0.3, 0)},
    "mined, at least some": {"ohem": (1e-9, 200), "weighted": True},
    "mined, more than there are": {"ohem": (0.1, 10**6)},
}


def with_weight(options, k, dtype=torch.float64):
    options = dict(options)
    if options.pop("weighted", False):
        options["weight"] = torch.linspace(0.2, 2, k, dtype=dtype)
    return options


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize(
    ("k", "source", "size"),
    [(19, (7, 5), (33, 47)), (3, (1, 1), (7, 5)), (5, (9, 8), (4, 3)), (4, (8, 8), (8, 8)), (6, (2, 3), (70, 45))],
)
def test_loss_and_gradient_in_float64(options, k, source, size):
    logits, target = sample(2, k, source, size)
    options = with_weight(options, k)
    ours, expected = (both(function, logits, target, **options) for function in (upsample_cross_entropy, reference))
    assert_equal(ours, expected, 1e-11)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_loss_and_gradient_in_float32(options):
    logits, target = sample(2, 19, (16, 12), (128, 96))
    expected = both(reference, logits, target, **with_weight(options, 19))
    ours = both(upsample_cross_entropy, logits.float(), target, **with_weight(options, 19, torch.float32))
    assert ours[0].dtype == ours[1].dtype == torch.float32
    assert_equal(ours, expected, 1e-5)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("ignored", [0.2, 1.1])
def test_what_a_gpu_without_triton_runs_is_the_same(ignored, options):
    logits, target = sample(2, 5, (6, 7), (24, 20), ignored)
    logits = logits.contiguous(memory_format=torch.channels_last)
    options = with_weight(options, 5)
    expected = both(reference, logits, target, **options)
    smoothing, (threshold, min_kept) = options.get("label_smoothing", 0.0), options.get("ohem", (None, 0))
    operands = logits, target, options.get("weight"), 255, smoothing, threshold, min_kept, "align_corners" in options
    loss, gradient = upsample_cross_entropy_library(*operands, True)
    assert gradient.stride() == logits.stride()
    assert_equal((loss, 0.7 * gradient), expected, 1e-11)
    loss, nothing = upsample_cross_entropy_library(*operands, False)
    assert (loss, nothing.shape) == (upsample_cross_entropy_library(*operands, True)[0], (0,))


@pytest.mark.parametrize("k", [1, 2, 150, 300])
def test_any_number_of_classes(k):
    logits, target = sample(1, k, (5, 6), (21, 40))
    ours, expected = (both(f, logits, target, ignore_index=-100 if k > 255 else 255)
                      for f in (upsample_cross_entropy, reference))  # fmt: skip
    assert_equal(ours, expected, 1e-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_half_precision_is_closer_than_the_library(dtype, memory_format):
    logits, target = sample(2, 19, (8, 9), (64, 70))
    logits = logits.to(dtype).contiguous(memory_format=memory_format)
    exact = both(reference, logits.double(), target)
    ours = both(upsample_cross_entropy, logits, target)
    library = both(lambda x, t: F.cross_entropy(F.interpolate(x, t.shape[1:], mode="bilinear"), t, ignore_index=255),
                   logits, target)  # fmt: skip
    assert ours[0].dtype == torch.float32
    assert ours[1].dtype == dtype
    assert ours[1].stride() == logits.stride()
    assert (ours[0] - exact[0]).abs() <= 1e-6 * exact[0]
    assert (ours[1] - exact[1]).norm() <= (library[1] - exact[1]).norm()


def mined(logits, target, threshold, min_kept):
    """OHEM as PSPNet's and HRNet's training code has it: sort, look the threshold up, relabel the rest."""
    full = F.interpolate(logits, target.shape[1:], mode="bilinear")
    true = full.softmax(1).gather(1, target.where(target != 255, 0)[:, None])[:, 0]
    order = true[target != 255].sort().values
    limit = max(threshold, order[min(min_kept, len(order) - 1)])
    kept = target.where((true < limit) & (target != 255), 255)
    return F.cross_entropy(full, kept, ignore_index=255), (kept != 255).sum()


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 10), (0.02, 700), (0.0, 33)])
def test_mining_is_the_usual_one(threshold, min_kept):
    logits, target = sample(2, 5, (6, 7), (24, 28))
    expected, kept = mined(logits, target, threshold, min_kept)
    assert min_kept <= kept < (target != 255).sum()
    torch.testing.assert_close(upsample_cross_entropy(logits, target, ohem=(threshold, min_kept)), expected)


def test_mining_keeps_equals():
    target = torch.zeros(1, 8, 8, dtype=torch.uint8)
    logits = torch.ones(1, 4, 2, 2)
    for ohem in ((0.1, 3), (0.3, 0)):  # every probability is 0.25: a tie, then all below
        loss = upsample_cross_entropy(logits, target, ohem=ohem)
        torch.testing.assert_close(loss, torch.tensor(4.0).log())
    assert upsample_cross_entropy(logits, target, ohem=(0.2, 0)) == 0


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}])
def test_negative_weights_are_the_library_s(options):
    logits, target = sample(1, 3, (2, 2), (5, 6))
    weight = torch.tensor([-1.0, 0.5, -2.0], dtype=torch.float64)
    full = F.interpolate(logits, (5, 6), mode="bilinear")
    expected = F.cross_entropy(full, target, weight, ignore_index=255, **options)
    ours, plain = (both(each, logits, target, weight=weight, **options) for each in (upsample_cross_entropy, reference))
    assert_equal(ours, plain, 1e-12)
    torch.testing.assert_close(ours[0], expected)


def test_weights_that_sum_to_zero_are_a_loss_of_zero():
    logits, weight = sample(1, 2, (2, 2), (2, 2))[0], torch.tensor([1.0, -1.0], dtype=torch.float64)
    target = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    for each in (upsample_cross_entropy, reference):
        loss, gradient = both(each, logits, target, weight=weight)
        assert loss == 0 and not gradient.any()


@pytest.mark.parametrize("options", [{}, {"ohem": (0.7, 10)}, {"label_smoothing": 0.1}])
def test_no_labelled_pixel_is_a_loss_of_zero(options):
    logits, target = sample(2, 3, (4, 4), (16, 16), ignored=1.1)
    loss, gradient = both(upsample_cross_entropy, logits, target, **options)
    assert loss == 0
    assert not gradient.any()
    weightless = both(upsample_cross_entropy, logits, torch.zeros_like(target), weight=torch.zeros(3), **options)
    assert weightless[0] == 0
    assert not weightless[1].any()
    loss, gradient = both(upsample_cross_entropy, logits[:0], target[:0], **options)
    assert loss == 0
    assert gradient.shape == (0, 3, 4, 4)


def test_uint8_targets_and_one_labelled_pixel():
    logits, target = sample(1, 3, (4, 4), (16, 16), ignored=1.1)
    target[0, 5, 15] = 2
    ours = both(upsample_cross_entropy, logits, target.to(torch.uint8))
    assert_equal(ours, both(reference, logits, target), 1e-11)
    assert (ours[1] != 0).sum() == 3 * 4 // 2  # the pixel lies at the right border, between two rows


def test_same_input_same_bits_and_gradients_of_any_stride():
    logits, target = sample(2, 7, (9, 9), (50, 50), dtype=torch.float32)
    first, again = (both(upsample_cross_entropy, logits, target) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    spread = logits[:, :, :1, :1].expand(-1, -1, 9, 9)
    assert_equal(both(upsample_cross_entropy, spread, target), both(reference, spread, target), 1e-5)
    x = logits.clone().requires_grad_()
    upsample_cross_entropy(x, target).expand(4).sum().backward()  # a gradient of stride 0
    torch.testing.assert_close(x.grad, first[1] / 0.7 * 4)


def test_large_logits_do_not_overflow():
    logits, target = sample(1, 4, (3, 3), (12, 12))
    logits = logits * 1e4
    for dtype in (torch.float64, torch.float32):
        ours = both(upsample_cross_entropy, logits.to(dtype), target)
        assert_equal(ours, both(reference, logits, target), 1e-11 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize("of", [torch.exp, torch.clone], ids=["of the loss", "of the logits"])
def test_a_second_derivative_is_refused(of):
    logits, target = sample(1, 3, (3, 3), (6, 6))
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(of(upsample_cross_entropy(logits, target)), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        gradient.sum().backward()


def test_no_gradient_is_computed_where_none_is_needed():
    logits, target = sample(1, 3, (3, 3), (6, 6))
    loss = upsample_cross_entropy(logits, target)
    assert not loss.requires_grad
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        upsample_cross_entropy(logits.requires_grad_(), target)
    assert counter.get_total_flops() == 7 * 3 * 6 * 6
    with FlopCounterMode(display=False) as counter:
        upsample_cross_entropy(logits, target)
    assert counter.get_total_flops() == 13 * 3 * 6 * 6


def test_without_triton_a_gpu_s_wrong_label_is_a_loss_and_a_gradient_of_nan():
    logits, target = sample(1, 3, (3, 3), (6, 6))
    target[0, 3, 3] = 7
    loss, gradient = upsample_cross_entropy_library(logits, target, None, 255, 0.1, None, 0, False, True)
    assert loss.isnan() and gradient.isnan().all()


@pytest.mark.parametrize(("options", "launches"), [({}, 4), ({"ohem": (0.7, 9)}, 5), ({"label_smoothing": 0.1}, 4)])
def test_a_training_step_does_not_look_at_a_value(options, launches, idle, monkeypatch):
    """What would wait for a GPU, or keep its launches from a CUDA graph."""
    logits, target = sample(1, 3, (4, 4), (16, 16), dtype=torch.float32)

    def waited(*arguments):
        raise AssertionError("a value was looked at")

    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero", "unique"):
        monkeypatch.setattr(torch.Tensor, name, waited)
    for step in range(3):
        count = idle.count
        upsample_cross_entropy(logits.requires_grad_(), target, **options).backward()
        assert idle.count == count + launches, step


def test_wrong_labels_are_named():
    logits, target = sample(1, 3, (3, 3), (6, 6))
    target[0, 0, 0], target[0, 0, 1], target[0, 3, 3] = 7, -2, 7
    with pytest.raises(ValueError, match=r"0\.\.2\b.*\b255\b.*\b3 .*-2, 7"):
        upsample_cross_entropy(logits, target)
    with pytest.raises(ValueError, match=r"0\.\.2\b.*-1\b.*\b36 .*255"):
        upsample_cross_entropy(logits, torch.full((1, 6, 6), 255, dtype=torch.uint8), ignore_index=-1)
    with pytest.raises(ValueError, match=r"0\.\.2\b.*-100\b.*\b36 .*\b3$"):
        upsample_cross_entropy(logits, torch.full((1, 6, 6), 3), ignore_index=-100)
    with pytest.raises(ValueError, match=r"integer.*float32"):
        check_labels(target.float(), 3)
    with pytest.raises(ValueError, match=r"0\.\.2\b.*\b3 .*-2, 7"):
        check_labels(target.int(), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(3, 4, 4)}, r"\(N, C, H, W\).*\(3, 4, 4\)"),
        ({"logits": torch.zeros(2, 0, 4, 4)}, r"classes.*\(2, 0, 4, 4\)"),
        ({"logits": torch.zeros(2, 3, 4, 4, dtype=torch.int32)}, "floating logits.*int32"),
        ({"target": torch.zeros(2, 3, 8, 8, dtype=torch.int64)}, r"target.*\(2, H, W\).*\(2, 3, 8, 8\)"),
        ({"target": torch.zeros(1, 8, 8, dtype=torch.int64)}, r"target.*\(2, H, W\).*\(1, 8, 8\)"),
        ({"target": torch.zeros(2, 0, 8, dtype=torch.int64)}, r"target.*\(2, 0, 8\)"),
        ({"target": torch.zeros(2, 8, 8)}, "target.*int64 or uint8.*float32"),
        ({"target": torch.zeros(2, 8, 8, dtype=torch.int64, device="meta")}, "target.*cpu.*meta"),
        ({"weight": torch.ones(4)}, r"weight.*\(3,\).*\(4,\)"),
        ({"weight": torch.ones(3, dtype=torch.int64)}, "floating weight.*int64"),
        ({"weight": torch.ones(3, device="meta")}, "weight.*cpu.*meta"),
        ({"label_smoothing": 1.5}, r"label_smoothing.*0\.\.1.*1\.5"),
        ({"ohem": (2.0, 1)}, r"ohem.*0\.\.1.*\(2\.0, 1\)"),
        ({"ohem": (0.5, -1)}, r"ohem.*0..2\^63.*\(0\.5, -1\)"),
        ({"ohem": (0.5, 2**63)}, r"ohem.*\(0\.5, 9223372036854775808\)"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"logits": torch.zeros(2, 3, 4, 4), "target": torch.zeros(2, 8, 8, dtype=torch.int64), **change}
    with pytest.raises(ValueError, match=message):
        upsample_cross_entropy(**arguments)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 2),
    k=st.integers(1, 6),
    source=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    ignored=st.sampled_from([0.0, 0.3, 0.95]),
    # Not a count: pixels beside the border tie, and each side's rounding breaks the tie differently.
    options=st.sampled_from([options for name, options in OPTIONS.items() if name != "mined, at least some"]),
    seed=st.integers(0, 99),
)
def test_any_sizes(n, k, source, size, ignored, options, seed):
    logits, target = sample(n, k, source, size, ignored, seed)
    options = with_weight(options, k)
    ours, expected = (both(function, logits, target, **options) for function in (upsample_cross_entropy, reference))
    assert_equal(ours, expected, 1e-10)


@pytest.mark.parametrize("options", [(255, 0.0, None, 0, False), (255, 0.1, 0.5, 10, True)])
def test_opcheck(options):
    op = torch.ops.srzoo.upsample_cross_entropy.default
    logits, target = sample(2, 4, (4, 5), (12, 13), dtype=torch.float32)
    weight = torch.linspace(1, 2, 4)
    torch.library.opcheck(op, (logits, target, weight, *options, False))
    torch.library.opcheck(op, (logits.clone().requires_grad_(), target, None, *options, True))
    channels_last = logits.contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(op, (channels_last.requires_grad_(), target.to(torch.uint8), weight, *options, True))
    backward = torch.ops.srzoo.upsample_cross_entropy_backward.default
    torch.library.opcheck(backward, (torch.tensor(2.0), torch.randn(1, 2, 3, 3), torch.bfloat16))


def test_compiles_whole_and_once_for_all_sizes():
    calls = []

    def count(graph, inputs):
        calls.append(graph)
        return graph.forward

    compiled = torch.compile(upsample_cross_entropy, fullgraph=True, dynamic=True, backend=count)
    # All sides differ in the first call, else they would be taken for one.
    for source, size in (((4, 5), (8, 9)), ((6, 5), (24, 31)), ((3, 7), (10, 12))):
        logits, target = sample(2, 11, source, size)
        ours = both(compiled, logits, target, ohem=(0.5, 10))
        assert_equal(ours, both(upsample_cross_entropy, logits, target, ohem=(0.5, 10)), 1e-12)
    assert len(calls) == 1


def test_compiles_with_inductor():
    compiled = torch.compile(lambda x, t: upsample_cross_entropy(2 * x, t) * 3, fullgraph=True)
    logits, target = sample(1, 4, (4, 5), (16, 18), dtype=torch.float32)
    assert_equal(both(compiled, logits, target), both(lambda x, t: reference(2 * x, t) * 3, logits, target), 1e-5)


def test_autocast_computes_in_float32():
    logits, target = sample(1, 4, (4, 5), (16, 18), dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = both(upsample_cross_entropy, logits, target)
    assert ours[0].dtype == torch.float32
    assert ours[1].dtype == torch.bfloat16
    assert_equal(ours, both(reference, logits.double(), target), 2**-8)
