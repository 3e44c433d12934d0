import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection.roi_heads import paste_masks_in_image

from srzoo_kernels import NonFiniteError, aligned_frames, paste_masks, torchvision_frames
from srzoo_kernels.paste_masks.reference import mask_values
from srzoo_kernels.paste_masks.reference import paste_masks as reference
from tests.kernels.properties import given, settings, st

MARGIN = 1e-5  # of a value to the threshold, in which a pixel may go either way


def detections(n, side, size, seed=0, dtype=torch.float32):
    """Masks, and boxes from below a pixel to half the image, some of them partly outside it."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    centre = torch.rand(n, 2, generator=generator) * torch.tensor([width, height])
    half = torch.rand(n, 2, generator=generator) ** 3 * torch.tensor([width, height]) / 2 + 0.2
    masks = torch.rand(n, side, side, generator=generator).to(dtype)
    return masks, torch.cat([centre - half, centre + half], 1)


def assert_pasted(pasted, values, threshold=0.5, margin=MARGIN):
    """1 where the exact value reaches the threshold, but for those within ``margin`` of it."""
    assert pasted.dtype == torch.uint8
    assert pasted.shape == values.shape
    assert pasted.le(1).all()
    wrong = pasted.cpu().bool() != (values >= threshold)
    assert ((values[wrong] - threshold).abs() <= margin).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("side", "size"), [(1, (7, 5)), (5, (33, 47)), (28, (129, 57))])
def test_equals_the_reference(side, size, padding, dtype, device):
    masks, boxes = detections(6, side, size, dtype=dtype)
    _, windows = aligned_frames(boxes, size)
    for threshold in (0.5, 0.3):
        pasted = paste_masks(masks.to(device), boxes.to(device), windows, threshold, padding)
        assert_pasted(pasted, mask_values(masks.double(), boxes, windows, padding), threshold)


@pytest.mark.parametrize("window", [(0, 0, 257, 129), (13, 5, 60, 38), (100, 128, 257, 129), (256, 0, 257, 129)])
def test_any_window_of_a_mask(window, device):
    masks, boxes = torch.rand(1, 28, 28), torch.tensor([[-9.3, 11.2, 201.7, 140.1]])
    windows = torch.tensor([window])
    assert_pasted(paste_masks(masks.to(device), boxes.to(device), windows), mask_values(masks.double(), boxes, windows))


@pytest.mark.parametrize("seed", range(4))
def test_equals_torchvision(seed, device):
    size = (61, 83)
    masks, boxes = detections(12, 14, size, seed)
    boxes[0] = torch.tensor([20.0, 30.0, 20.4, 30.3])  # within a pixel
    boxes[1] = torch.tensor([0.0, 0.0, 83.0, 61.0])
    boxes[2] = torch.tensor([-20.0, -10.0, 9.5, 3.0])
    boxes[3] = torch.tensor([70.0, 55.0, 100.0, 90.0])
    frames, windows = torchvision_frames(boxes.to(device), 14, size)
    assert frames.device.type == device
    assert frames.dtype == torch.float32
    pasted = paste_masks(masks.to(device), frames, windows, padding=1).cpu()
    start = 0
    for values, (left, top, right, bottom) in zip(
        paste_masks_in_image(masks[:, None], boxes, size)[:, 0], windows.tolist(), strict=True
    ):
        area = (right - left) * (bottom - top)
        assert_pasted(pasted[start : start + area], values[top:bottom, left:right].flatten())
        values[top:bottom, left:right] = 0
        assert not values.any()  # nothing is outside the window
        start += area
    assert start == len(pasted)


def test_all_pixels_of_a_mask_are_in_its_window(device):
    masks, boxes = detections(8, 28, (40, 50))
    frames, windows = aligned_frames(boxes, (40, 50))
    everything = torch.tensor([[0, 0, 50, 40]]).expand(8, 4)
    inside = paste_masks(masks.to(device), frames.to(device), windows)
    assert inside.sum() == paste_masks(masks.to(device), frames.to(device), everything).sum()
    assert inside.any()


def test_a_value_at_the_threshold_is_set(device):
    masks, boxes = torch.full((1, 4, 4), 0.5, device=device), torch.tensor([[0.0, 0.0, 8.0, 8.0]], device=device)
    inner = torch.tensor([[1, 1, 7, 7]])  # whose values do not mix with the zeros around the mask
    assert paste_masks(masks, boxes, inner).all()
    assert not paste_masks(masks, boxes, inner, threshold=0.5001).any()


def test_aligned_frames():
    boxes = torch.tensor(
        [[1.2, 2.0, 3.0, 4.7], [-5.0, -1.0, 99.0, 0.5], [8.0, 1.0, 8.0, 3.0], [20.0, 1.0, 30.0, 3.0],
         [5.0, 4.0, 2.0, 6.0], [2.25, 2.25, 2.5, 2.5], [-1e30, -1e30, 1e30, 1e30]]
    )  # fmt: skip
    frames, windows = aligned_frames(boxes.double().requires_grad_(), (7, 9))
    assert torch.equal(frames, boxes)
    assert not frames.requires_grad
    expected = [[1, 2, 3, 5], [0, 0, 9, 1], [8, 1, 8, 3], [9, 1, 9, 3], [5, 4, 5, 6], [2, 2, 3, 3], [0, 0, 9, 7]]
    assert torch.equal(windows, torch.tensor(expected))


def test_frames_outside_the_image_have_no_pixels():
    boxes = torch.tensor([[-30.0, 2.0, -20.0, 4.0], [50.0, 2.0, 60.0, 4.0], [2.0, -30.0, 4.0, -20.0]])
    for frames, windows in (aligned_frames(boxes, (9, 9)), torchvision_frames(boxes, 28, (9, 9))):
        assert len(paste_masks(torch.rand(3, 28, 28), frames, windows)) == 0


@pytest.mark.parametrize(
    "frame", [lambda *a: aligned_frames(*a), lambda boxes, size: torchvision_frames(boxes, 28, size)]
)
@pytest.mark.parametrize(
    ("boxes", "size", "message"),
    [
        (torch.zeros(4), (8, 8), r"boxes.*\(N, 4\).*\(4,\)"),
        (torch.zeros(2, 5), (8, 8), r"boxes.*\(N, 4\).*\(2, 5\)"),
        (torch.zeros(2, 4, dtype=torch.int64), (8, 8), r"boxes.*int64.*boxes\.float\(\)"),
        (torch.zeros(2, 4), (0, 8), r"size.*\(1, 1\).*\(0, 8\)"),
        (torch.tensor([[0.0, 0, 1, 1], [0, float("nan"), 1, 1]]), (8, 8), r"boxes.*finite.*nan.*box 1\b"),
        (torch.tensor([[0.0, 0, float("inf"), 1]]), (8, 8), r"boxes.*finite.*inf.*box 0\b"),
    ],
)
def test_frames_refuse(frame, boxes, size, message):
    with pytest.raises(ValueError, match=message):
        frame(boxes, size)


def test_a_mask_has_a_side():
    with pytest.raises(ValueError, match=r"mask_side.*\b1\b.*\b0\b"):
        torchvision_frames(torch.zeros(1, 4), 0, (8, 8))


def test_nothing_to_paste(device):
    nothing = torch.empty(0, 4, dtype=torch.int64)
    assert paste_masks(torch.rand(0, 28, 28, device=device), torch.rand(0, 4, device=device), nothing).shape == (0,)
    for frames in (aligned_frames(torch.empty(0, 4), (8, 8)), torchvision_frames(torch.empty(0, 4), 28, (8, 8))):
        assert [each.shape for each in frames] == [(0, 4), (0, 4)]
    masks, boxes = torch.rand(3, 5, 5), torch.tensor([[0.0, 0, 9, 9]]).expand(3, 4)
    for windows in ([[3, 3, 3, 3]] * 3, [[3, 3, 3, 8], [0, 0, 9, 9], [3, 3, 8, 3]]):
        windows = torch.tensor(windows)
        pasted = paste_masks(masks.to(device), boxes.to(device), windows)
        assert_pasted(pasted, mask_values(masks.double(), boxes, windows))


def test_a_box_without_a_side_sets_nothing(device):
    boxes = torch.tensor([[2.0, 2.0, 2.0, 5.0], [2.5, 2.5, 5.0, 2.5], [2.5, 2.5, 2.5, 2.5]], device=device)
    windows = torch.tensor([[0, 0, 8, 8]]).expand(3, 4)
    for padding in (0, 1):
        assert not paste_masks(torch.ones(3, 5, 5, device=device), boxes, windows, padding=padding).any()


def test_layouts_gradients_and_autocast(device):
    masks, boxes = detections(4, 7, (20, 30))
    _, windows = aligned_frames(boxes, (20, 30))
    expected = paste_masks(masks.to(device), boxes.to(device), windows)
    assert_pasted(expected, mask_values(masks.double(), boxes, windows))
    wide = masks.new_zeros(4, 3, 7, 7).to(device)
    wide[:, 1] = masks.to(device)
    strided = torch.stack([boxes, boxes], 2).to(device)[..., 0].requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        pasted = paste_masks(wide.requires_grad_()[:, 1], strided, torch.stack([windows, windows])[0])
    assert torch.equal(pasted, expected)
    assert not pasted.requires_grad
    turned = masks.mT.contiguous().to(device).mT
    assert torch.equal(paste_masks(turned, boxes.to(device), windows), expected)
    assert torch.equal(paste_masks(masks.to(device), boxes.to(device), windows), expected)  # the same bits


def arguments(**changes):
    given = {"masks": torch.rand(2, 5, 5), "boxes": torch.tensor([[0.0, 0, 9, 9]] * 2)}
    return given | {"windows": torch.tensor([[0, 0, 9, 9]] * 2)} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": torch.rand(2, 1, 5, 5)}, r"masks.*\(N, M, M\).*\(2, 1, 5, 5\)"),
        ({"masks": torch.rand(2, 5, 6)}, r"masks.*\(N, M, M\).*\(2, 5, 6\)"),
        ({"masks": torch.rand(2, 0, 0)}, r"masks.*\(N, M, M\).*\(2, 0, 0\)"),
        ({"masks": torch.ones(2, 5, 5, dtype=torch.bool)}, r"masks.*bool.*masks\.float\(\)"),
        ({"boxes": torch.rand(3, 4)}, r"boxes.*\(2, 4\).*\(3, 4\)"),
        ({"boxes": torch.ones(2, 4, dtype=torch.int32)}, "boxes.*int32"),
        ({"boxes": torch.rand(2, 4, device="meta")}, r"boxes.*cpu.*meta"),
        ({"windows": torch.zeros(1, 4, dtype=torch.int64)}, r"windows.*\(2, 4\).*\(1, 4\)"),
        ({"windows": torch.zeros(2, 4, dtype=torch.int32)}, "windows.*int64.*CPU.*int32"),
        ({"windows": torch.zeros(2, 4, dtype=torch.int64, device="meta")}, "windows.*int64.*CPU.*meta"),
        ({"windows": torch.tensor([[0, 0, 1, 1], [0, 3, 1, 2]])}, r"y0 <= y1.*\(0, 3, 1, 2\).*\b1\b"),
        ({"windows": torch.tensor([[-1, 0, 1, 1], [0, 0, 1, 1]])}, r"0 <= x0.*\(-1, 0, 1, 1\).*\b0\b"),
        ({"windows": torch.tensor([[0, 0, 1, 1], [0, 0, 1 << 40, 1]])}, r"x1 <= 16777216.*1099511627776"),
        ({"threshold": 0.0}, r"threshold.*\b0\b.*\b1\b.*0\.0"),
        ({"threshold": 1.5}, r"threshold.*\b1\b.*1\.5"),
        ({"threshold": float("nan")}, "threshold.*nan"),
        ({"padding": -1}, r"padding.*\b0\b.*-1"),
    ],
)
def test_hostile_inputs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        paste_masks(**arguments(**changes))


def test_numbers_that_are_not_finite_are_refused_on_a_cpu():
    masks = torch.rand(2, 5, 5)
    masks[1, 2, 3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"^masks .*detection 1\b.*\b1 of 25\b"):
        paste_masks(**arguments(masks=masks))
    with pytest.raises(NonFiniteError, match=r"^boxes .*detection 0\b.*\b1 of 4\b"):
        paste_masks(**arguments(boxes=torch.tensor([[0.0, 0, 9, float("inf")], [0, 0, 9, 9]])))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 4),
    side=st.integers(1, 9),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    padding=st.integers(0, 2),
    threshold=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_detections(n, side, size, padding, threshold, seed):
    masks, boxes = detections(n, side, size, seed)
    _, windows = aligned_frames(boxes, size)
    pasted = paste_masks(masks, boxes, windows, threshold, padding)
    assert_pasted(pasted, mask_values(masks.double(), boxes, windows, padding), threshold)
    differing = (pasted != reference(masks, boxes, windows, threshold, padding)).sum()
    assert differing <= 1 + 1e-3 * len(pasted)


def test_memory_is_that_of_the_windows(run_python):
    # In its own process, whose peak is these calls'; full frames would take 640 MB.
    done = run_python(
        "-c",
        "import torch; from srzoo_kernels import aligned_frames, paste_masks\n"
        "torch.set_num_threads(1); boxes = torch.rand(20, 4) * 30 + torch.tensor([3000.0, 3000, 3040, 3040])\n"
        "run = lambda size: paste_masks(torch.rand(20, 28, 28), *aligned_frames(boxes, size))\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "run((3010, 3010)); before = peak(); assert run((4000, 8000)).any(); print(peak() - before)",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8 * 1024  # KiB


def test_opcheck(device):
    masks, boxes = (each.to(device) for each in detections(3, 5, (12, 15)))
    _, windows = aligned_frames(boxes, (12, 15))
    torch.library.opcheck(torch.ops.srzoo.paste_masks.default, (masks, boxes, windows, 0.5, 1))


def test_compiles_whole_and_once_for_all_sizes(device):
    torch._dynamo.reset()
    counter, frames = CompileCounterWithBackend("aot_eager"), set()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(
            lambda *operands: paste_masks(*operands) + 1, fullgraph=True, dynamic=True, backend=counter
        )
        for n, size in ((3, (12, 15)), (5, (20, 11)), (4, (9, 9))):
            masks, boxes = (each.to(device) for each in detections(n, 5, size))
            _, windows = aligned_frames(boxes, size)
            assert torch.equal(compiled(masks, boxes, windows), paste_masks(masks, boxes, windows) + 1)
            frames.add(counter.frame_count)
    assert len(frames) == 1  # the first call traces twice, the others not at all


def test_operations_are_counted(device):
    with FlopCounterMode(display=False) as counter:
        paste_masks(**{name: each.to(device) if name != "windows" else each for name, each in arguments().items()})
    assert counter.get_total_flops() == 10 * 2 * 81
