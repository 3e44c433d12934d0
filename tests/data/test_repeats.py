import math
from dataclasses import replace

import pytest

from srzoo.data.opening import open_dataset
from srzoo.data.repeats import factors_of, repeat_factors
from srzoo.labels import LabelSet
from srzoo.tasks.task import get_task


def test_the_factor_of_an_image_is_that_of_its_rarest_class():
    classes = [{0}, {0, 1}, {0, 2}, {0, 1}, set()]
    assert factors_of(classes, 0.5) == pytest.approx([1, math.sqrt(1.25), math.sqrt(2.5), math.sqrt(1.25), 1])
    assert factors_of(classes, 0.1) == [1] * 5
    assert factors_of([], 0.5) == []


def test_classes_are_counted_in_images_without_void(write_pairs):
    root = write_pairs([0, 0, 255, 1], [0, 2, 2, 1])
    labels = LabelSet(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    data = replace(open_dataset(root, "train", num_classes=3), labels=labels)
    assert [data.classes_in(i) for i in range(len(data))] == [{0, 1}]
    assert data.renumbered([2, 0, 1]).classes_in(0) == {1, 2}


@pytest.mark.parametrize(("task", "format"), [("instance", "coco"), ("panoptic", "coco_panoptic")])
def test_classes_are_those_of_items(task, format, facade):
    data = open_dataset(facade, "val", task=task, format=format).select([3, 5])
    names = [data.labels.classes[i] for i in data.classes_in(0)]
    data = data.renumbered(list(range(len(data.labels.classes)))[::-1])
    item = data[0]
    seen = item.objects.classes.tolist() if task == "instance" else [each.class_id for each in item.segments]
    assert data.classes_in(0) == set(seen)
    assert {data.labels.classes[i] for i in seen} == set(names)
    assert min(repeat_factors(data, 1.0)) >= 1


def test_annotations_are_read_once_for_repeats_and_for_pasted_objects(facade, monkeypatch):
    """On COCO each reading takes minutes."""
    data = open_dataset(facade, "val", task="instance", format="coco").select([3, 5])
    read, objects = [], type(data).objects
    monkeypatch.setattr(type(data), "objects", lambda self, index: read.append(index) or objects(self, index))
    task = get_task("instance")
    augmented = task.samples(data, task.Options(copy_paste=0.5), None, 0)
    assert len(augmented.images_of) and len(repeat_factors(data, 0.5)) == 2
    assert read == [0, 1]
    assert len(data.select([1]).classes_by_image) == 1
