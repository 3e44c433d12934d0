"""The figures of semantic segmentation, with classes left out of the means."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from srzoo.tasks.semantic.meter import SemanticMeter

CLASSES = ("background", "car", "tree")


def measured(leave_out=(), **options):
    meter = SemanticMeter(CLASSES, torch.device("cpu"), leave_out=leave_out, **options)
    labels, target = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    labels[:4, :4], target[:4, :2], target[6:] = 1, 1, 255
    own = meter.update(SimpleNamespace(labels=labels), (None, target))
    return own, meter


def test_figures_of_each_class():
    own, meter = measured()
    score = meter.score()
    assert list(score.by_class) == ["IoU", "Dice", "precision", "recall", "boundary F1"]
    assert score.by_class["precision"] == {"background": 1, "car": 0.5, "tree": None}
    assert score.by_class["recall"] == {"background": 0.8, "car": 1, "tree": None}
    assert score.by_class["Dice"]["car"] == pytest.approx(2 / 3)
    assert score.figures["mean Dice"] == pytest.approx((2 / 3 + 2 * 32 / 72) / 2)
    assert own == score.value == pytest.approx((0.5 + 0.8) / 2)


def test_a_class_is_left_out_of_the_means():
    own, meter = measured(("background",))
    score = meter.score()
    assert own == score.value == 0.5
    assert score.figures["mean Dice"] == pytest.approx(2 / 3)
    assert score.figures["boundary F1"] == score.by_class["boundary F1"]["car"]
    assert score.by_class["IoU"]["background"] == pytest.approx(0.8)


@pytest.mark.parametrize(("names", "message"), [(("cra",), "'cra'.*car"), (CLASSES, "all 3 classes")])
def test_invalid_names(names, message):
    with pytest.raises(ValueError, match=message):
        measured(names)


def test_confusion_picture():
    picture = measured()[1].confusion()
    assert picture.mode == "RGB"
    assert picture.width == picture.height > 3 * 44
    assert (8, 81, 156) in {colour for _, colour in picture.getcolors(1 << 16)}  # 100 % on the diagonal
    many = SemanticMeter(tuple(f"a long name of class number {i}" for i in range(150)), torch.device("cpu"))
    assert many.confusion().width < 3000
