import pytest
import torch
from torch.nn import functional as F

from srzoo.labels import IGNORE
from srzoo.tasks.semantic.losses import SegmentationLoss, binary_cross_entropy, dice, focal, lovasz_softmax


def total(losses):
    return sum(losses.values())


def jaccard_by_definition(probabilities, target, classes):
    """Berman et al., Eq. 8 and 9: for each class the Lovasz extension, as a sum over the sorted errors."""
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


def test_lovasz_equals_its_definition():
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3, 4)
    target = torch.tensor([[[0, 1, 1, 2], [255, 2, 2, 0], [0, 0, 255, 1]]])
    valid = target.flatten() != 255
    probabilities = logits.double().softmax(1)[0].flatten(1)[:, valid]
    expected = jaccard_by_definition(probabilities, target.flatten()[valid], [0, 1, 2])
    torch.testing.assert_close(lovasz_softmax(logits, target).double(), expected, rtol=1e-5, atol=1e-6)


def test_lovasz_is_zero_for_a_perfect_prediction_or_no_labels():
    target = torch.tensor([[[0, 1], [1, 0]]])
    logits = F.one_hot(target, 2).movedim(-1, 1).float() * 50
    assert lovasz_softmax(logits, target) < 1e-6
    empty = torch.randn(1, 3, 2, 2, requires_grad=True)
    lovasz_softmax(empty, torch.full((1, 2, 2), 255)).backward()
    assert empty.grad.abs().sum() == 0


@pytest.mark.parametrize("align_corners", [False, True])
def test_main_term_equals_pytorch_cross_entropy(align_corners):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 12, 14))
    target[:, :3] = 255
    weights = torch.rand(5) + 0.5
    full = F.interpolate(logits, (12, 14), mode="bilinear", align_corners=align_corners)
    expected = F.cross_entropy(full, target, weights, ignore_index=255)
    loss_of = SegmentationLoss(weights, align_corners=align_corners)
    torch.testing.assert_close(total(loss_of(logits, logits, target)), expected)


@pytest.mark.parametrize("terms", [{}, {"lovasz": 0.5}, {"dice": 0.5}, {"ohem": (0.7, 5)}])
def test_unlabelled_batch_has_zero_loss_and_finite_gradients(terms):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = total(SegmentationLoss(torch.ones(3), aux=0.4, **terms)(logits, logits, torch.full((1, 8, 8), 255)))
    loss.backward()
    assert loss == 0
    assert logits.grad.isfinite().all()


def test_dice_equals_its_definition_over_present_classes():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3, 5)
    target = torch.randint(0, 3, (2, 3, 5))  # class 3 is absent
    target[0, 0] = 255
    valid = target.flatten() != 255
    probabilities, truth = logits.softmax(1).movedim(1, -1).flatten(0, 2)[valid], target.flatten()[valid]
    terms = []
    for c in range(3):
        is_class = (truth == c).float()
        terms.append(1 - 2 * (probabilities[:, c] * is_class).sum() / (probabilities[:, c].sum() + is_class.sum()))
    torch.testing.assert_close(dice(logits, target), torch.stack(terms).mean())


def test_terms_have_their_weights():
    torch.manual_seed(0)
    logits, aux, target = torch.randn(2, 5, 6, 6), torch.randn(2, 5, 3, 3), torch.randint(0, 5, (2, 12, 12))
    near = F.interpolate(target[:, None].float(), (6, 6), mode="nearest-exact")[:, 0].long()
    alone = total(SegmentationLoss(label_smoothing=0.1)(logits, None, target))
    whole = SegmentationLoss(None, 0.5, 0.25, 0.4, label_smoothing=0.1)(logits, aux, target)
    assert list(whole) == ["cross_entropy", "aux", "lovasz", "dice"]
    small = F.interpolate(target[:, None].float(), (3, 3), mode="nearest-exact")[:, 0].long()
    expected = (
        alone
        + 0.4 * F.cross_entropy(F.interpolate(aux, (3, 3)), small, label_smoothing=0.1)
        + 0.5 * lovasz_softmax(logits, near)
        + 0.25 * dice(logits, near)
    )
    torch.testing.assert_close(total(whole), expected)


def test_ohem_keeps_only_hard_pixels():
    logits = torch.tensor([[[[9.0, 0.0]], [[0.0, 9.0]]]])  # sure of class 0 on the left, of 1 on the right
    target = torch.tensor([[[0, 0]]])
    loss = total(SegmentationLoss(ohem=(0.7, 0))(logits, None, target))
    torch.testing.assert_close(loss, F.cross_entropy(logits[..., 1:], target[..., 1:]))


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0])])
def test_focal_without_exponent_is_the_cross_entropy(weights):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 5, 6), torch.randint(3, (2, 5, 6))
    target[0, :2] = IGNORE
    wanted = F.cross_entropy(logits, target, weights, ignore_index=IGNORE)
    assert focal(logits, target, weights, gamma=0).item() == pytest.approx(wanted.item(), rel=1e-5)
    assert focal(logits, target, weights).item() < wanted.item()


def test_focal_by_the_formula_and_its_gradient():
    logits = torch.tensor([[[[2.0]], [[0.0]]]], requires_grad=True)
    p = torch.tensor(2.0).sigmoid()
    loss = focal(logits, torch.tensor([[[0]]]), gamma=2)
    assert loss.item() == pytest.approx((-((1 - p) ** 2) * p.log()).item(), rel=1e-5)
    sure = torch.tensor([[[[200.0]], [[0.0]]]], requires_grad=True)
    focal(sure, torch.tensor([[[0]]]), gamma=0.5).backward()
    assert sure.grad.isfinite().all()


def test_binary_cross_entropy_of_each_class():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 5, 6), torch.randint(3, (2, 5, 6))
    truth = F.one_hot(target, 3).movedim(-1, 1).float()
    wanted = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1).mean()
    assert binary_cross_entropy(logits, target).item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("loss", [focal, binary_cross_entropy])
def test_nothing_is_labelled_for_a_loss_of_pixels(loss):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((1, 4, 4), IGNORE), torch.ones(3))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()
