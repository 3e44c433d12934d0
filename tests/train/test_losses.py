import pytest
import torch
from torch.nn import functional as F

from srzoo.train.losses import SegmentationLoss, class_weights, lovasz_softmax


def jaccard_by_definition(probabilities, target, classes):
    """Berman et al., Eq. 8 and 9: the Lovasz extension as a sum over the sorted errors, one class at a time."""
    losses = []
    for c in classes:
        truth = (target == c).double()
        errors = (truth - probabilities[c]).abs()
        order = errors.argsort(descending=True)
        loss, previous, mispredicted = 0.0, 0.0, torch.zeros_like(truth)
        for i in order:
            mispredicted[i] = 1
            missed = (truth * mispredicted).sum()
            union = truth.sum() + ((1 - truth) * mispredicted).sum()
            value = 1 - (truth.sum() - missed) / union
            loss, previous = loss + errors[i] * (value - previous), value
        losses.append(loss)
    return torch.stack(losses).mean()


def test_lovasz_is_its_definition():
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3, 4)
    target = torch.tensor([[[0, 1, 1, 2], [255, 2, 2, 0], [0, 0, 255, 1]]])
    valid = target.flatten() != 255
    probabilities = logits.double().softmax(1)[0].flatten(1)[:, valid]
    expected = jaccard_by_definition(probabilities, target.flatten()[valid], [0, 1, 2])
    torch.testing.assert_close(lovasz_softmax(logits, target).double(), expected, rtol=1e-5, atol=1e-6)


def test_lovasz_of_a_perfect_prediction_is_zero_and_of_nothing_too():
    target = torch.tensor([[[0, 1], [1, 0]]])
    logits = F.one_hot(target, 2).movedim(-1, 1).float() * 50
    assert lovasz_softmax(logits, target) < 1e-6
    empty = torch.randn(1, 3, 2, 2, requires_grad=True)
    lovasz_softmax(empty, torch.full((1, 2, 2), 255)).backward()
    assert empty.grad.abs().sum() == 0


@pytest.mark.parametrize("align_corners", [False, True])
def test_loss_is_the_library_s_cross_entropy_when_alone(align_corners):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 12, 14))
    target[:, :3] = 255
    weights = torch.rand(5) + 0.5
    full = F.interpolate(logits, (12, 14), mode="bilinear", align_corners=align_corners)
    expected = F.cross_entropy(full, target, weights, ignore_index=255)
    loss_of = SegmentationLoss(weights, lovasz=0, aux=0, align_corners=align_corners)
    torch.testing.assert_close(loss_of(logits, logits, target), expected)


@pytest.mark.parametrize("lovasz", [0.0, 0.5])
def test_an_unlabelled_batch_gives_zero_and_finite_gradients(lovasz):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = SegmentationLoss(torch.ones(3), lovasz, aux=0.4)(logits, logits, torch.full((1, 8, 8), 255))
    loss.backward()
    assert loss == 0
    assert logits.grad.isfinite().all()


def test_rare_classes_weigh_more():
    weights = class_weights(torch.tensor([0.7, 0.29, 0.01, 0.0]))
    assert weights.tolist() == sorted(weights.tolist())
    assert weights.mean().item() == pytest.approx(1)
