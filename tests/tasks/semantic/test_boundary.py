import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srzoo.tasks.semantic import boundary
from srzoo.tasks.semantic.boundary import BoundaryF1


def brute_force(prediction, target, classes, tolerance):
    """F1 of each class by its definition, from the distances between all pairs of boundary pixels."""
    prediction = np.where(target < 0, -1, prediction)
    reach = tolerance * math.hypot(*target.shape)

    def points(labels, class_id):
        found = []
        for y, x in np.argwhere(labels == class_id):
            around = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            inside = [labels[p] for p in around if 0 <= p[0] < labels.shape[0] and 0 <= p[1] < labels.shape[1]]
            if any(neighbour not in (-1, class_id) for neighbour in inside):
                found.append((y, x))
        return np.array(found, dtype=float).reshape(-1, 2)

    scores = []
    for class_id in range(classes):
        ours, theirs = points(prediction, class_id), points(target, class_id)
        if not len(ours) and not len(theirs):
            scores.append(math.nan)
            continue
        if not len(ours) or not len(theirs):
            scores.append(0.0)
            continue
        distance = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
        precision, recall = (distance.min(1) < reach).mean(), (distance.min(0) < reach).mean()
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return scores


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), tolerance=st.sampled_from([0.001, 0.0411, 0.1031, 0.2017]))  # equal to no distance
def test_equals_the_definition(seed, tolerance):
    generator = np.random.default_rng(seed)
    height, width, classes = *generator.integers(1, 20, 2), generator.integers(1, 5)
    coarse = generator.integers(0, classes, (2, 5, 5))
    prediction, target = (np.kron(c, np.ones((4, 4), int))[:height, :width] for c in coarse)
    target[generator.random(target.shape) < 0.05] = -1
    metric = BoundaryF1(int(classes), tolerance)
    metric.update(torch.from_numpy(prediction.astype(np.uint8)), torch.from_numpy(target))
    expected = brute_force(prediction, target, classes, tolerance)
    np.testing.assert_allclose(metric.per_class().numpy(), expected, atol=1e-12)


def square(top: int, side: int = 40) -> torch.Tensor:
    labels = torch.zeros(300, 400, dtype=torch.int64)
    labels[top : top + side, 100 : 100 + side] = 1
    return labels


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (3, 1.0), (4, 84 / 156)])
def test_tolerance_of_the_paper(shift, expected):
    """0.75 % of this diagonal are 3.75 pixels, so a shift by 3 pixels is a hit and one by 4 is not."""
    metric = BoundaryF1(2)
    metric.update(square(100 + shift), square(100))
    assert metric.per_class()[1].item() == pytest.approx(expected, abs=1e-9)


def test_mean_over_images_and_classes(monkeypatch):
    monkeypatch.setattr(boundary, "_BLOCK", 100)
    metric = BoundaryF1(3)
    metric.update(square(100), square(100))
    metric.update(square(150), square(100))
    metric.update(torch.zeros(30, 40), torch.zeros(30, 40))  # has no boundary, so it does not count
    assert metric.images.tolist() == [2, 2, 0]
    first = metric.per_class()
    assert 0.5 <= first[1] < 0.7
    assert math.isnan(first[2])
    assert metric.mean() == pytest.approx(first[:2].mean().item())


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match=r"\(1, 3, 4\).*\(3, 4\)"):
        BoundaryF1(2).update(torch.zeros(1, 3, 4), torch.zeros(3, 4))
