import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from srzoo_kernels import panoptic_merge
from srzoo_kernels.launch import interpreted
from srzoo_kernels.panoptic_merge.reference import panoptic_merge as reference
from tests.kernels.properties import given, settings, st


def flat(masks, windows):
    """The pixels of full frames ``(N, H, W)`` within ``windows``, one after another."""
    parts = [mask[y0:y1, x0:x1].flatten() for mask, (x0, y0, x1, y1) in zip(masks, windows.tolist(), strict=True)]
    return torch.cat([torch.empty(0, dtype=torch.uint8), *parts])


def scene(n, size, classes, seed=0, dtype=torch.int64):
    """Blobs that overlap, in windows some of which are empty; regions of classes; about half of them stuff."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    limits = torch.tensor([width, height]) + 1
    corners = (torch.rand(n, 2, 2, generator=generator) * limits).long().sort(1).values
    windows = corners.flatten(1)
    area = int((windows[:, 2:] - windows[:, :2]).prod(1).sum())
    pixels = (torch.rand(area, generator=generator) < 0.7).to(torch.uint8)
    coarse = torch.rand(1, classes, *(-(-side // 6) for side in size), generator=generator)
    labels = torch.nn.functional.interpolate(coarse, size).argmax(1)[0].to(dtype)
    return pixels, windows, labels, torch.rand(classes, generator=generator) < 0.6


def merge(pixels, windows, labels, is_stuff, *options, device="cpu"):
    """Merge on ``device``, and check what is true of every result."""
    operands = pixels.to(device), windows, labels.to(device), is_stuff.to(device)
    ids, areas = panoptic_merge(*operands, *options)
    again = panoptic_merge(*operands, *options)
    assert torch.equal(ids, again[0])
    assert torch.equal(areas, again[1])
    assert (ids.dtype, ids.shape) == (torch.int32, labels.shape)
    assert (areas.dtype, areas.shape) == (torch.int64, (len(windows) + len(is_stuff),))
    ids, areas = ids.cpu(), areas.cpu()
    assert torch.equal(areas, torch.bincount(ids.flatten(), minlength=len(areas) + 1)[1:])
    return ids, areas


def assert_equals_the_reference(*arguments, device="cpu"):
    ids, areas = merge(*arguments, device=device)
    expected_ids, expected_areas = reference(*arguments)
    assert torch.equal(ids, expected_ids)
    assert torch.equal(areas, expected_areas)
    return ids, areas


@pytest.mark.parametrize("overlap", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("n", "size", "classes"), [(1, (1, 1), 1), (5, (7, 5), 2), (9, (33, 47), 7), (12, (61, 83), 70), (40, (40, 30), 3)]
)
def test_equals_the_reference(n, size, classes, overlap, device):
    for seed, least in ((0, 20), (1, 200)):
        assert_equals_the_reference(*scene(n, size, classes, seed), overlap, least, device=device)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integers(dtype, device):
    pixels, windows, labels, is_stuff = scene(4, (19, 23), 5, dtype=dtype)
    assert_equals_the_reference(pixels, windows, labels, is_stuff, 0.5, 10, device=device)
    assert_equals_the_reference(pixels, windows, labels.T.contiguous().T, is_stuff, 0.5, 10, device=device)
    assert_equals_the_reference(pixels * 255, windows, labels, is_stuff.repeat(2)[::2], 0.5, 10, device=device)


def rows_of(*spans, width=10):
    """Instances in a single row of pixels, each with a window of its own: ``(N, 1, width)`` frames and windows."""
    masks = torch.zeros(len(spans), 1, width, dtype=torch.uint8)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[0, start:end] = 1
    return masks, torch.tensor([[start, 0, end, 1] for start, end in spans])


def merge_rows(*spans, overlap=0.5, device="cpu"):
    masks, windows = rows_of(*spans)
    void = torch.zeros(1, 10, dtype=torch.int64), torch.tensor([False])
    return assert_equals_the_reference(flat(masks, windows), windows, *void, overlap, 0, device=device)[0][0].tolist()


def test_the_first_claims_what_two_share(device):
    assert merge_rows((0, 6), (4, 10), device=device) == [1] * 6 + [2] * 4
    assert merge_rows((4, 10), (0, 6), device=device) == [2] * 4 + [1] * 6


def test_a_share_at_the_threshold_is_kept(device):
    assert merge_rows((0, 4), (2, 6), device=device) == [1] * 4 + [2] * 2 + [0] * 4
    assert merge_rows((0, 4), (1, 6), overlap=0.6, device=device) == [1] * 4 + [2] * 2 + [0] * 4
    assert merge_rows((0, 4), (1, 6), overlap=0.5999999, device=device) == [1] * 4 + [0] * 6
    assert merge_rows((0, 4), (1, 4), overlap=1.0, device=device) == [1] * 4 + [0] * 6


def test_an_instance_that_is_dropped_frees_its_pixels(device):
    # The second has 3 of 5 pixels claimed; the third would have 2 of 3 claimed, had the second been kept.
    assert merge_rows((0, 4), (1, 6), (4, 7), device=device) == [1] * 4 + [3] * 3 + [0] * 3


def test_an_instance_without_pixels(device):
    labels, is_stuff = torch.zeros(5, 7, dtype=torch.int64), torch.tensor([True])
    windows = torch.tensor([[0, 0, 3, 3], [2, 2, 2, 5], [7, 5, 7, 5], [1, 1, 4, 4]])
    pixels = torch.cat([torch.zeros(9, dtype=torch.uint8), torch.ones(9, dtype=torch.uint8)])
    _, areas = assert_equals_the_reference(pixels, windows, labels, is_stuff, 0.0, 1, device=device)
    assert areas.tolist() == [0, 0, 0, 9, 26]


def test_stuff_at_its_least_area(device):
    labels = torch.zeros(5, 7, dtype=torch.int64)
    labels[:, 3:] = 1
    nothing = torch.empty(0, dtype=torch.uint8), torch.empty(0, 4, dtype=torch.int64)
    for least, expected in ((15, [15, 20]), (16, [0, 20]), (20, [0, 20]), (21, [0, 0])):
        ids, areas = merge(*nothing, labels, torch.tensor([True, True]), 0.5, least, device=device)
        assert areas.tolist() == expected
        assert torch.equal(ids > 0, torch.tensor([area > 0 for area in expected])[labels])
    # Two pixels that an instance claims do not count.
    one = torch.ones(2, dtype=torch.uint8), torch.tensor([[0, 0, 2, 1]])
    assert merge(*one, labels, torch.tensor([True, True]), 0.5, 14, device=device)[1].tolist() == [2, 0, 20]
    assert merge(*one, labels, torch.tensor([True, True]), 0.5, 13, device=device)[1].tolist() == [2, 13, 20]


def test_without_stuff_or_instances(device):
    pixels, windows, labels, is_stuff = scene(4, (13, 17), 5)
    ids, areas = assert_equals_the_reference(pixels, windows, labels, torch.zeros(5).bool(), 0.5, 0, device=device)
    assert ids.max() <= 4
    assert not areas[4:].any()
    ids, areas = assert_equals_the_reference(pixels[:0], windows[:0], labels, is_stuff, 0.5, 0, device=device)
    assert torch.equal(ids == 0, ~is_stuff[labels])
    assert len(areas) == 5


def test_defaults(device):
    labels = torch.zeros(65, 129, dtype=torch.int64)
    labels[:32] = 1
    labels[0, :32] = 0  # 4,096 pixels of class 1
    windows = torch.tensor([[0, 40, 20, 50], [10, 40, 30, 50], [9, 50, 29, 60], [9, 51, 28, 61]])
    pixels = torch.ones(790, dtype=torch.uint8)
    ids, areas = (each.cpu() for each in panoptic_merge(
        pixels.to(device), windows, labels.to(device), torch.tensor([True, True], device=device)
    ))  # fmt: skip
    assert areas.tolist() == [200, 100, 200, 0, 0, 4096]
    assert torch.equal(ids, reference(pixels, windows, labels, torch.tensor([True, True]))[0])


def test_more_counts_than_a_program_adds_up_at_once(device, monkeypatch):
    kernels = pytest.importorskip("srzoo_kernels.panoptic_merge._triton")
    for name, value in (("PARTIALS", 2), ("ROWS", 2), ("CHUNKS", 1)):
        monkeypatch.setattr(kernels, name, value)
    windows = torch.tensor([[0, 0, 83, 61], [10, 0, 70, 61], [20, 9, 83, 61]])
    pixels = torch.zeros(5063 + 3660 + 3276, dtype=torch.uint8)
    pixels[:2000:3] = pixels[5063:] = 1
    labels = torch.arange(61)[:, None].div(20, rounding_mode="floor").expand(61, 83)
    stuff = torch.tensor([True, False, True, True])
    _, areas = assert_equals_the_reference(pixels, windows, labels, stuff, 0.3, 100, device=device)
    assert areas.gt(0).tolist() == [True, True, False, True, False, True, False]


@settings(max_examples=6 if interpreted() else 25, deadline=None)
@given(
    n=st.integers(0, 8),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    classes=st.integers(1, 6),
    overlap=st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0]),
    least=st.integers(0, 60),
    seed=st.integers(0, 999),
)
def test_any_scene(n, size, classes, overlap, least, seed):
    assert_equals_the_reference(*scene(n, size, classes, seed), overlap, least)


def arguments(**changes):
    pixels, windows, labels, is_stuff = scene(3, (9, 8), 4)
    return {"pixels": pixels, "windows": windows, "labels": labels, "is_stuff": is_stuff} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": torch.zeros(3, 3, dtype=torch.uint8)}, r"pixels.*\(T,\).*\(3, 3\)"),
        ({"pixels": torch.zeros(9)}, "pixels.*uint8.*float32"),
        ({"pixels": torch.zeros(7, dtype=torch.uint8)}, r"pixels.*\b3 windows.*\b7$"),
        ({"windows": torch.zeros(3, 5, dtype=torch.int64)}, r"windows.*\(N, 4\).*\(3, 5\)"),
        ({"windows": torch.zeros(3, 4)}, "windows.*int64.*CPU.*float32"),
        ({"windows": torch.tensor([[0, 0, 9, 9]])}, r"x1 <= 8 .*y1 <= 9\b.*\(0, 0, 9, 9\).*\b0\b"),
        ({"windows": torch.tensor([[3, 0, 2, 9]])}, r"x0 <= x1.*\(3, 0, 2, 9\)"),
        ({"labels": torch.zeros(1, 9, 8, dtype=torch.int64)}, r"labels.*\(H, W\).*\(1, 9, 8\)"),
        ({"labels": torch.zeros(0, 8, dtype=torch.int64)}, r"labels.*\(1, 1\).*\(0, 8\)"),
        ({"labels": torch.zeros(9, 8)}, "labels.*integer.*float32"),
        ({"labels": torch.zeros(9, 8, dtype=torch.bool)}, "labels.*integer.*bool"),
        ({"is_stuff": torch.zeros(4)}, "is_stuff.*bool.*float32"),
        ({"is_stuff": torch.zeros(0, dtype=torch.bool)}, r"is_stuff.*one class.*\(0,\)"),
        ({"is_stuff": torch.zeros(4, dtype=torch.bool, device="meta")}, "is_stuff.*cpu.*meta"),
        ({"pixels": torch.zeros(4, dtype=torch.uint8, device="meta")}, "pixels.*cpu.*meta"),
        ({"overlap": -0.1}, r"overlap.*0\.\.1.*-0\.1"),
        ({"overlap": float("nan")}, r"overlap.*0\.\.1.*nan"),
        ({"min_stuff_area": -1}, r"min_stuff_area.*\b0\b.*-1"),
        ({"min_stuff_area": 1.5}, r"min_stuff_area.*integer.*1\.5"),
    ],
)
def test_hostile_inputs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        panoptic_merge(**arguments(**changes))


def test_labels_that_are_no_class():
    labels = arguments()["labels"]
    for value in (4, -1, 255, 1 << 32):
        labels[2, 3:5] = value
        with pytest.raises(ValueError, match=rf"labels.*0\.\.3\b.*\b2 are {value}$"):
            panoptic_merge(**arguments(labels=labels))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CPU refuses them")
@pytest.mark.parametrize("value", [4, -1, 255, 1 << 32])
def test_labels_that_are_no_class_are_void_on_a_gpu(value):
    pixels, windows, labels, _ = scene(3, (9, 8), 4)
    stuff = torch.ones(5, dtype=torch.bool)
    expected = labels.clone()
    expected[2, 3:5], stuff[4] = 4, False
    labels[2, 3:5] = value
    ids = panoptic_merge(pixels.cuda(), windows, labels.cuda(), stuff[:4].cuda(), 0.5, 0)[0]
    assert torch.equal(ids.cpu(), reference(pixels, windows, expected, stuff, 0.5, 0)[0])


def test_opcheck(device):
    pixels, windows, labels, is_stuff = scene(3, (9, 8), 4)
    operands = labels.to(device), is_stuff.to(device), pixels.to(device), windows, 0.5, 10
    torch.library.opcheck(torch.ops.srzoo.panoptic_merge.default, operands)


def test_compiles_whole_and_once_for_all_sizes(device):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    def segment(pixels, windows, labels, is_stuff):
        ids, areas = panoptic_merge(pixels, windows, labels + 0, is_stuff, 0.5, 10)
        return ids + 1, areas

    compiled = torch.compile(segment, fullgraph=True, dynamic=True, backend=counter)
    for n, size in ((3, (9, 8)), (5, (14, 23)), (4, (31, 6))):
        pixels, windows, labels, is_stuff = scene(n, size, 4)
        operands = pixels.to(device), windows, labels.to(device), is_stuff.to(device)
        assert all(torch.equal(*pair) for pair in zip(compiled(*operands), segment(*operands), strict=True))
    assert counter.frame_count == 1


def test_compiles_with_inductor():
    torch._dynamo.reset()
    operands = scene(3, (9, 8), 4)
    compiled = torch.compile(lambda *operands: panoptic_merge(*operands)[0] * 2, fullgraph=True)
    assert torch.equal(compiled(*operands), panoptic_merge(*operands)[0] * 2)
