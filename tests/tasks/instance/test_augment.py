"""Masks and boxes move with the image, objects are kept whole or dropped by their share, memory stays bounded."""

import numpy as np
import pytest
import torch

from srzoo.data.mask_windows import MaskWindows
from srzoo.data.opening import open_dataset
from srzoo.data.seeded import AugmentedDataset
from srzoo.models.targets import check_targets
from srzoo.tasks.instance.augment import Augment, collate, target
from srzoo.tasks.instance.options import InstanceOptions
from srzoo.zoo.transform import Transform

COLOURS = np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)], np.uint8)


@pytest.fixture
def coloured(objects_of):
    """Rectangles of four colours on black, of which the third is a crowd; object i has class i."""
    masks = np.zeros((4, 100, 130), bool)
    masks[0, 10:40, 10:50] = True
    masks[1, 60:95, 30:60] = True
    masks[2, 5:30, 80:120] = True
    masks[3, 50:90, 85:125] = True
    image = np.zeros((100, 130, 3), np.uint8)
    for mask, colour in zip(masks, COLOURS):
        image[mask] = colour
    return image, objects_of(masks, range(4), [False, False, True, False])


def under(x: torch.Tensor, label: int) -> torch.Tensor:
    """The pixels of an augmented image that have the colour of a class."""
    return ((x.permute(1, 2, 0).int() - torch.from_numpy(COLOURS[label]).int()).abs() < 125).all(2)


@pytest.mark.parametrize("crop", [None, 48, 80])
@pytest.mark.parametrize("seed", range(12))
def test_a_rectangle_stays_under_its_mask(coloured, seed, crop):
    torch.manual_seed(seed)
    x, found = Augment(crop, (0.5, 2.0), min_share=0.0)(*coloured)
    check_targets([found], [tuple(x.shape[1:])], 4)
    seen = {label for label in (0, 1, 3) if under(x, label).sum() > 20}
    assert seen <= set(found["labels"].tolist()) <= {0, 1, 3}  # without the crowd
    for i, (label, (x0, y0, x1, y1)) in enumerate(zip(found["labels"].tolist(), found["boxes"].long().tolist())):
        inside = found["masks"].full(i).bool()
        wrong = under(x, label) != inside
        assert wrong.sum() <= x1 - x0 + y1 - y0  # pixels of its border, which are mixed in the image
        assert inside[y0:y1, x0:x1].sum() == inside.sum() > 0
        assert inside[y0, x0:x1].any() and inside[y1 - 1, x0:x1].any()


def test_both_orientations_occur(coloured):
    """The first rectangle is at the left of the third, or at the right if flipped."""
    orders = []
    for seed in range(20):
        torch.manual_seed(seed)
        _, found = Augment()(*coloured)
        boxes = dict(zip(found["labels"].tolist(), found["boxes"][:, 0].tolist()))
        orders.append(boxes[0] < boxes[3])
    assert 4 < sum(orders) < 16


@pytest.mark.parametrize("crop", [None, 80])
def test_flips_and_turns_move_image_masks_and_boxes_together(coloured, crop):
    """All eight positions of a picture occur, with the size of a turned one, and the box of the crowd moves along."""
    image, objects = coloured
    augment, places = Augment(crop, (1, 1), min_share=0.0, vertical_flip=True, turns=True), set()
    for seed in range(60):
        torch.manual_seed(seed)
        x, found = augment(image, objects)
        size = tuple(x.shape[1:])
        check_targets([found], [size], 4)
        assert found["masks"].size == size
        for i, label in enumerate(found["labels"].tolist()):
            assert torch.equal(under(x, label), found["masks"].full(i).bool())
        for box in found["crowds"]:
            rows, columns = (under(x, 2).any(axis).nonzero()[:, 0] for axis in (1, 0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        places.add((size, *(tuple(found["boxes"][found["labels"] == label].flatten().tolist()) for label in (0, 3))))
    assert crop or len(places) == 8


def test_without_flips_the_picture_stays(coloured):
    for seed in range(12):
        torch.manual_seed(seed)
        assert torch.equal(Augment(flip=False)(*coloured)[0], torch.from_numpy(coloured[0]).permute(2, 0, 1))


def test_objects_are_whole_or_dropped_by_their_share(coloured):
    """At factor 1 the share that is left can be counted: it is the same crop whatever ``min_share`` is."""
    image, objects = coloured
    areas = {0: 1200, 1: 1050, 3: 1600}
    kept_and_dropped = [0, 0]
    for seed in range(30):
        found = {}
        for share in (0.0, 0.5, 1.0):
            torch.manual_seed(seed)
            _, own = Augment(64, min_share=share)(image, objects)
            found[share] = dict(zip(own["labels"].tolist(), own["masks"].areas().tolist()))
        shares = {label: area / areas[label] for label, area in found[0.0].items()}
        for limit in (0.5, 1.0):
            assert found[limit].keys() == {label for label, share in shares.items() if share >= limit}
        kept_and_dropped[0] += len(found[0.5])
        kept_and_dropped[1] += len(shares) - len(found[0.5])
    assert min(kept_and_dropped) > 5


def test_share_is_of_the_resized_object(coloured):
    """At a third of the size a whole object has a ninth of its pixels, and is kept."""
    torch.manual_seed(0)
    _, found = Augment(None, (1 / 3, 1 / 3), min_share=0.9)(*coloured)
    assert found["labels"].tolist() == [0, 1, 3]


def test_an_image_without_objects(coloured):
    image, objects = coloured
    objects = objects.of(objects.size, [])
    x, found = Augment(64, (0.5, 2))(image, objects)
    assert found["boxes"].shape == (0, 4) and found["labels"].dtype == torch.int64
    check_targets([found], [tuple(x.shape[1:])], 4)


def test_jitter_changes_the_image_alone(coloured):
    results = []
    for jitter in (0.0, 0.4):
        torch.manual_seed(1)
        results.append(Augment(64, (0.5, 2), jitter=jitter)(*coloured))
    (plain, one), (jittered, other) = results
    assert not torch.equal(plain, jittered)
    assert torch.equal(one["masks"].pixels, other["masks"].pixels) and torch.equal(one["boxes"], other["boxes"])


def test_limit_of_the_long_side():
    def sides_of(transform):
        augment = Augment.of(InstanceOptions(), transform)
        return augment.short_side, augment.long_side

    assert sides_of(Transform(800, long_side=1333, fit="pad")) == (800, 1333)
    assert sides_of(None) == (None, None)


def test_samples_depend_on_seed_and_position_alone(scenes):
    data = open_dataset(scenes, "train", task="instance")

    def sample(seed, position):
        x, found, index = AugmentedDataset(data, Augment(64, (0.5, 2), jitter=0.2), seed, collate)[position]
        return [x, found["boxes"], found["labels"], found["masks"].pixels, torch.tensor(index)]

    before = torch.get_rng_state()
    first, again, later, other = sample(0, 1), sample(0, 1), sample(0, 7), sample(1, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert later[-1] == first[-1] and not torch.equal(first[0], later[0])
    assert not torch.equal(first[0], other[0])


def test_batches_are_padded_at_the_right_and_at_the_bottom():
    def item(height, width, index):
        return (
            torch.full((3, height, width), 9, dtype=torch.uint8),
            target(MaskWindows.empty((height, width)), np.zeros(0, int), torch.zeros(0, 4)),
            index,
        )

    images, sizes, targets, indices = collate([item(40, 50, 3), item(60, 20, 1)])
    assert images.shape == (2, 3, 60, 50) and images.dtype == torch.uint8
    assert sizes == [(40, 50), (60, 20)] and indices.tolist() == [3, 1] and len(targets) == 2
    assert images[0, :, :40].eq(9).all() and not images[0, :, 40:].any()
    assert images[1, :, :, :20].eq(9).all() and not images[1, :, :, 20:].any()
    assert collate([item(5, 6, 0)])[0].shape == (1, 3, 32, 32)  # no network takes less


def test_400_instances_of_a_megapixel_in_bounded_memory(run_python, tmp_path):
    """A dense stack of the masks would take 400 MB, and torchvision's float one 1.6 GB."""
    (tmp_path / "go.py").write_text(
        "import numpy as np, torch\n"
        "from srzoo.data.objects import FoundObject, Objects\n"
        "from srzoo.data.rle import encode\n"
        "from srzoo.models.mask_targets import mask_targets\n"
        "from srzoo.tasks.instance.augment import Augment\n"
        "torch.set_num_threads(1)\n"
        "def scene(count):\n"
        "    found = []\n"
        "    for i in range(count):\n"
        "        mask = np.zeros((1024, 1024), bool)\n"
        "        y, x = 50 * (i // 20), 50 * (i % 20)\n"
        "        mask[y:y + 60, x:x + 60] = True\n"
        "        box = (x, y, min(x + 60, 1024), min(y + 60, 1024))\n"
        "        found.append(FoundObject(box, 0, encode(mask), False, float(mask.sum()), i))\n"
        "    return Objects.of((1024, 1024), found)\n"
        "image = np.zeros((1024, 1024, 3), np.uint8)\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024\n"
        "augment = Augment(None, (1.0, 1.2), jitter=0.2)\n"
        "augment(image, scene(4))\n"
        "before = peak()\n"
        "_, target = augment(image, scene(400))\n"
        "matched = torch.arange(128) * 3\n"
        "mask_targets(target['masks'], target['boxes'][matched], matched, 28)\n"
        "print(len(target['labels']), peak() - before)\n"
    )
    done = run_python(str(tmp_path / "go.py"))
    assert done.returncode == 0, done.stderr
    count, mib = done.stdout.split()
    assert int(count) == 400
    assert float(mib) < 200


def test_boxes_of_crowds_move_with_the_image():
    """A white block in the image, and the box of a crowd around it."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:50] = 255
    augment = Augment(crop=48, scale=(0.8, 1.25))
    for seed in range(8):
        torch.manual_seed(seed)
        picture, geometry = augment.picture(image)
        moved = augment.moved(geometry, np.array([[30.0, 20, 50, 40], [0, 0, 0.5, 0.5]], np.float32))
        rows, columns = (picture[0] > 127).any(1).nonzero()[:, 0], (picture[0] > 127).any(0).nonzero()[:, 0]
        if not len(rows):
            continue
        box = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert (moved[0] - box).abs().max() <= 1.01
