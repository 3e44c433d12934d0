import numpy as np
import pytest
import torch

from srzoo.data.mask_windows import MaskWindows
from srzoo.data.opening import open_dataset
from srzoo.models.targets import check_targets
from srzoo.tasks.instance.augment import target
from srzoo.tasks.instance.copy_paste import CopyPaste, paste
from srzoo.tasks.instance.options import InstanceOptions
from srzoo.tasks.task import get_task


def sample_of(size, colour, boxes, classes):
    """An image of one colour, and rectangles in it as a target."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes):
        mask[y0:y1, x0:x1] = 1
    image = torch.full((3, *size), colour, dtype=torch.uint8)
    return image, target(MaskWindows.of(masks), np.array(classes, np.int64), torch.zeros(0, 4))


@pytest.mark.parametrize("size", [(40, 61), (33, 90), (90, 50)])
def test_objects_of_one_class_cover_what_is_there(size):
    """At 10, 5 an object of 20x20 is copied; own ones are hidden in part, all but a sixteenth, or not at all."""
    image, own = sample_of((40, 61), 10, [(0, 0, 20, 20), (25, 20, 30, 26), (32, 0, 60, 3)], [0, 1, 2])
    own["semantic"] = torch.zeros(40, 61, dtype=torch.uint8)
    other = sample_of(size, 200, [(10, 5, 30, 25), (32, 0, 50, 3)], [3, 0])
    before = image.clone(), own["masks"].pixels.clone(), own["semantic"].clone()
    pasted, found = paste(image, own, *other, 3, min_share=0.3)
    check_targets([found], [(40, 61)], 4)
    is_new = torch.zeros(40, 61, dtype=torch.bool)
    is_new[5:25, 10:30] = True
    assert torch.equal(pasted, torch.where(is_new, 200, 10).expand(3, -1, -1).to(torch.uint8))
    assert found["labels"].tolist() == [0, 2, 3]  # of the second 5 of 30 pixels would be left
    assert found["masks"].areas().tolist() == [400 - 150, 84, 400]
    assert found["boxes"].tolist() == [[0, 0, 20, 20], [32, 0, 60, 3], [10, 5, 30, 25]]
    assert not (found["masks"].full(0).bool() & is_new).any()
    assert torch.equal(found["semantic"], is_new * 3)
    after = image, own["masks"].pixels, own["semantic"]
    assert all(torch.equal(one, two) for one, two in zip(before, after))


@pytest.mark.parametrize(
    ("box", "is_kept"),
    [((0, 30, 10, 50), True), ((0, 37, 10, 57), False), ((0, 40, 10, 60), False)],
)
def test_what_is_largely_outside_of_the_image_is_not_copied(box, is_kept):
    image, own = sample_of((40, 61), 10, [], [])
    pasted, found = paste(image, own, *sample_of((90, 90), 200, [box], [3]), 3, min_share=0.3)
    assert len(found["labels"]) == len(found["masks"]) == is_kept
    assert (pasted == 200).sum() == 3 * 100 * is_kept


def test_an_object_that_is_hidden_as_a_whole_is_dropped():
    image, own = sample_of((40, 61), 10, [(5, 5, 9, 9)], [0])
    _, found = paste(image, own, *sample_of((40, 61), 200, [(0, 0, 30, 30)], [1]), 1, min_share=0.0)
    assert found["labels"].tolist() == [1]


@pytest.mark.parametrize("name", ["instance", "panoptic"])
def test_rare_classes_occur_more_often(name, facade):
    """Of seven photographs one has a shop. A sample depends on the seed and its position alone."""
    task = get_task(name)
    data = open_dataset(facade, "val", task=name)
    shop = data.labels.classes.index("shop")
    has_shop = [shop in data.classes_in(index) for index in range(40)]
    data = data.select([has_shop.index(True), *[i for i, has in enumerate(has_shop) if not has][:6]])
    counts = {}
    for probability in (0.0, 1.0):
        options = task.Options(scale=(0.25, 0.25), flip=False, copy_paste=probability)
        samples = task.samples(data, options, None, 3)
        assert isinstance(samples, CopyPaste) == (probability > 0)
        found = [samples[position] for position in range(7, 16)]
        sizes = [tuple(image.shape[1:]) for image, _, _ in found]
        check_targets([own for _, own, _ in found], sizes, len(data.labels.classes))
        assert [index for _, _, index in found] == [*range(7), 0, 1]
        counts[probability] = sum(shop in own["labels"] for _, own, _ in found)
        assert torch.equal(samples[9][0], found[2][0])
    assert counts[0.0] == 2 < counts[1.0]


def test_an_image_gets_nothing_of_itself(facade):
    data = open_dataset(facade, "val", task="instance").select([4])
    samples = [get_task("instance").samples(data, InstanceOptions(copy_paste=each), None, 3)[2] for each in (0.0, 1.0)]
    assert torch.equal(samples[0][0], samples[1][0])
    assert torch.equal(samples[0][1]["boxes"], samples[1][1]["boxes"])


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_without_objects_nothing_is_copied(task, facade):
    data = open_dataset(facade, "val", task=task).select([0])
    samples = get_task(task).samples(data, get_task(task).Options(copy_paste=1.0), None, 0)
    samples.images_of = []
    image, found, _ = samples[0]
    check_targets([found], [tuple(image.shape[1:])], len(data.labels.classes))
