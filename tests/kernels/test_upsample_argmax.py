import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from srzoo_kernels import upsample_argmax
from srzoo_kernels.upsample_argmax.reference import upsample_argmax as reference
from tests.kernels.properties import given, settings, st


def smooth(*shape, dtype=torch.float32, seed=0):
    """Logits with regions, as a network's: most cells agree on their class, some do not."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(*shape[:2], *(max(1, side // 4) for side in shape[2:]), generator=generator)
    return (3 * F.interpolate(coarse, shape[2:], mode="nearest") + torch.rand(shape, generator=generator)).to(dtype)


def assert_same_labels(labels, logits, size, align_corners=False, margin=1e-5):
    """Equal wherever the two largest float64 logits differ by more than ``margin``."""
    full = F.interpolate(logits.double(), size, mode="bilinear", align_corners=align_corners)
    assert labels.shape == full[:, 0].shape
    chosen = full.gather(1, labels.long()[:, None])[:, 0]
    assert ((full.amax(1) - chosen) <= margin).all()


SIZES = [((1, 1), (1, 1)), ((1, 1), (7, 5)), ((7, 5), (33, 47)), ((33, 47), (129, 257)), ((9, 9), (72, 72)),
         ((16, 12), (5, 7)), ((8, 8), (8, 8)), ((8, 6), (9, 200)), ((2, 3), (100, 90))]  # fmt: skip


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("source", "size"), SIZES)
@pytest.mark.parametrize("make", [smooth, lambda *shape: torch.randn(shape)])
def test_labels_are_the_largest_logits(source, size, align_corners, make):
    logits = make(2, 19, *source)
    labels = upsample_argmax(logits, size, align_corners)
    assert labels.dtype == torch.uint8
    # Positions of float32 are off by up to 1.5e-5 beyond 128, and interpolate's own labels with them.
    assert_same_labels(labels, logits, size, align_corners, 1e-5 if max(source) < 16 else 2e-4)
    assert (labels != reference(logits, size, align_corners)).float().mean() < 1e-3


@pytest.mark.parametrize("classes", [1, 2, 150, 256, 257, 300])
def test_any_number_of_classes(classes):
    logits = torch.randn(1, classes, 5, 6)
    labels = upsample_argmax(logits, (20, 21))
    assert labels.dtype == (torch.uint8 if classes <= 256 else torch.int64)
    assert_same_labels(labels, logits, (20, 21))
    last = torch.zeros(1, classes, 2, 2)
    last[:, -1] = 1
    assert (upsample_argmax(last, (5, 5)) == classes - 1).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dtypes_and_layouts(dtype, memory_format):
    logits = torch.randn(2, 19, 8, 9).to(dtype).contiguous(memory_format=memory_format)
    labels, probability = upsample_argmax(logits, (64, 70), return_probability=True)
    expected, expected_probability = reference(logits.double(), (64, 70), return_probability=True)
    assert_same_labels(labels, logits, (64, 70))
    assert probability.dtype == torch.float32
    torch.testing.assert_close(probability, expected_probability, rtol=1e-5, atol=0)
    assert (labels == expected).float().mean() > 0.999
    assert torch.equal(labels, upsample_argmax(logits, (64, 70)))  # which skips the cells that agree


def test_equal_logits_give_the_first_class():
    logits = torch.zeros(1, 5, 3, 3)
    logits[:, 2:4] = 1
    assert (upsample_argmax(logits, (8, 8)) == 2).all()
    assert (upsample_argmax(logits, (8, 8), return_probability=True)[0] == 2).all()


def test_views_and_batches():
    logits = torch.randn(3, 7, 6, 20)
    view = logits[:, 1:6, ::2, 3:17:3]
    assert_same_labels(upsample_argmax(view, (30, 31)), view, (30, 31))
    constant = torch.randn(1, 7, 1, 1).expand(2, 7, 4, 4)
    assert (upsample_argmax(constant, (9, 9)) == constant.argmax(1)[0, 0, 0]).all()
    assert upsample_argmax(logits[:0], (9, 9)).shape == (0, 9, 9)
    separate = torch.cat([upsample_argmax(image[None], (25, 41)) for image in logits])
    assert torch.equal(upsample_argmax(logits, (25, 41)), separate)


def test_numbers_that_are_not_finite_give_some_class():
    logits = torch.randn(1, 3, 5, 5)
    logits[0, :, 1, 1] = float("nan")
    logits[0, 1, 3, 3] = float("inf")
    logits[0, 0, 4, 0] = float("-inf")
    for both in (False, True):
        labels = upsample_argmax(logits, (20, 20), return_probability=both)
        assert (labels[0] if both else labels).max() < 3


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    align_corners=st.booleans(),
    magnitude=st.sampled_from([1e-3, 1.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_any_sizes(shape, size, align_corners, magnitude, seed):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double() * magnitude
    labels, probability = upsample_argmax(logits, size, align_corners, return_probability=True)
    assert_same_labels(labels, logits, size, align_corners, 1e-9 * magnitude)
    torch.testing.assert_close(probability, reference(logits, size, align_corners, True)[1], rtol=1e-5, atol=0)
    assert_same_labels(upsample_argmax(logits, size, align_corners), logits, size, align_corners, 1e-9 * magnitude)


def test_memory_stays_far_below_the_full_resolution(run_python):
    # In its own process, whose peak is these calls'; the full resolution would take 160 MB.
    done = run_python(
        "-c",
        "import torch; from srzoo_kernels import upsample_argmax\n"
        "torch.set_num_threads(1); x = torch.randn(1, 19, 128, 256); upsample_argmax(x[..., :8, :8], (64, 64))\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "before = peak(); upsample_argmax(x, (1024, 2048)); upsample_argmax(x[..., :2, :2], (1024, 2048))\n"
        "print(peak() - before)",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24 * 1024  # KiB


@pytest.mark.parametrize("arguments", [(False, False), (True, True)])
def test_opcheck(arguments):
    op = torch.ops.srzoo.upsample_argmax.default
    torch.library.opcheck(op, (smooth(2, 5, 6, 7), 17, 20, *arguments))
    torch.library.opcheck(op, (smooth(2, 5, 6, 7).to(memory_format=torch.channels_last), 4, 20, *arguments))


def test_compiles_whole_and_once_for_all_sizes():
    calls = []

    def count(graph, inputs):
        calls.append(graph)
        return graph.forward

    compiled = torch.compile(lambda x, size: upsample_argmax(x * 2, size), fullgraph=True, dynamic=True, backend=count)
    for sides in ((8, 9), (5, 14), (12, 7)):
        logits = torch.randn(2, 4, *sides)
        size = (sides[0] * 4, sides[1] * 3)
        assert torch.equal(compiled(logits, size), upsample_argmax(logits * 2, size))
    assert len(calls) == 1


def test_compiles_with_inductor():
    compiled = torch.compile(lambda x: upsample_argmax(x + 1, (16, 18)) + 1, fullgraph=True)
    logits = torch.randn(1, 4, 4, 5)
    assert torch.equal(compiled(logits), upsample_argmax(logits + 1, (16, 18)) + 1)


def test_operations_are_counted():
    with FlopCounterMode(display=False) as counter:
        upsample_argmax(torch.randn(2, 3, 4, 4), (8, 10))
    assert counter.get_total_flops() == 4 * 2 * 3 * 8 * 10
