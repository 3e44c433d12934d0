import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_confusion_matrix

from srzoo.tasks.semantic.metrics import ConfusionMatrix


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 12), images=st.integers(1, 4))
def test_counts_equal_those_of_torchmetrics(seed, classes, images):
    generator = torch.Generator().manual_seed(seed)
    matrix = ConfusionMatrix(classes)
    predictions, targets = (torch.randint(0, classes, (images, 9, 7), generator=generator) for _ in range(2))
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = 255
    for prediction, target in zip(predictions, targets):
        matrix.update(prediction.to(torch.uint8), target)
    if classes > 1:
        expected = multiclass_confusion_matrix(predictions, targets, classes, ignore_index=255)
        assert torch.equal(matrix.counts, expected)
    hit = matrix.counts.diag().double()
    union = matrix.counts.sum(0) + matrix.counts.sum(1) - matrix.counts.diag()
    torch.testing.assert_close(matrix.iou(), hit / union, equal_nan=True)


def test_mean_is_over_the_classes_that_occur():
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 255]]))
    assert matrix.iou()[:2].tolist() == [0.5, 0.5]
    assert math.isnan(matrix.iou()[2])
    assert matrix.mean_iou() == 0.5
    assert matrix.pixel_accuracy() == 2 / 3


def test_counts_beyond_float32():
    matrix = ConfusionMatrix(2)
    matrix.counts += 2**24
    matrix.update(torch.zeros(1, 1), torch.zeros(1, 1))
    assert matrix.counts[0, 0] == 2**24 + 1


def test_dice_precision_and_recall_by_definition():
    matrix = ConfusionMatrix(4)
    matrix.update(torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0, 0]))
    assert matrix.precision()[:3].tolist() == [1 / 2, 2 / 3, 0]
    assert matrix.recall()[:2].tolist() == [1 / 3, 2 / 3]
    assert matrix.dice()[:3].tolist() == [2 / 5, 4 / 6, 0]
    assert math.isnan(matrix.recall()[2])  # nothing is annotated as it
    assert math.isnan(matrix.precision()[3])
    iou = matrix.iou()
    torch.testing.assert_close(matrix.dice(), 2 * iou / (1 + iou), equal_nan=True)


def test_mean_over_some_classes():
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]))
    assert matrix.mean_iou(torch.tensor([False, True, True])) == 0.75
