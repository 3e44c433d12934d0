"""Tests of the counts in Table 5, and of the hypotheses about them."""

import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def table5(load_bench):
    return load_bench("table5")


@pytest.fixture(scope="module")
def rules(table5):
    """What the rule counts for each network without a block."""
    return {name: table5.by_the_rule(table5.build(name, "none"), table5.COUNTED) for name in table5.PAPER}


@pytest.mark.parametrize(
    ("name", "paper"),
    [
        ("mask_rcnn_r50", 275.58),
        ("mask_rcnn_r101", 351.65),
        ("mask_rcnn_x101", 355.37),
        ("cascade_mask_rcnn_x101", 519.90),
    ],
)
def test_the_rule_gives_the_papers_figures(rules, table5, name, paper):
    assert table5.PAPER[name][0] == paper
    assert rules[name] == pytest.approx(paper, rel=3e-4)


def test_difference_of_the_panoptic_networks(rules, table5):
    assert rules["panoptic_fpn_r101"] - rules["panoptic_fpn_r50"] == pytest.approx(76.07, abs=5e-3)
    assert table5.PAPER["panoptic_fpn_r101"][0] - table5.PAPER["panoptic_fpn_r50"][0] == pytest.approx(76.07)


@pytest.mark.parametrize(
    ("context", "added", "parameters"), [("sr", 3 * 3 * 512 * 128 * 950 / 1e9, 0.5908), ("nl", 29.4525, 25.178)]
)
def test_what_the_blocks_add(table5, context, added, parameters):
    """Of ResNet-50. At layer4 SR takes its direct form: the gram form would be 2.5 times the work."""
    plain, model = (table5.build("mask_rcnn_r50", each) for each in ("none", context))
    costs = [each.cost(table5.EXECUTED) / 1e9 for each in (plain, model)]
    assert costs[0] == pytest.approx(249.739, abs=1e-3)
    assert costs[1] - costs[0] == pytest.approx(added, rel=1e-3)
    sizes = [sum(p.numel() for p in each.parameters()) / 1e6 for each in (plain, model)]
    assert sizes[1] - sizes[0] == pytest.approx(parameters, abs=1e-3)


def test_hypotheses(table5):
    pixels, unit = 25 * 38, 3 * 512 * 128
    assert round(3 * unit * pixels / 1e9, 2) == 0.56
    norms = 2 * (128 + 128 + 512) * pixels  # mmdetection counts two operations an element
    assert round(7 * (unit * pixels + norms) / 1e9, 2) == 1.32
    assert 3 * 3 * 1024 * 128 * pixels / 1e9 == pytest.approx(1.12, abs=5e-3)
    nl = 3 * (4 * 2048 * 1024 * pixels + 2 * 1024 * pixels**2) / 1e9
    assert nl / 30.5 - 1 == pytest.approx(-0.034, abs=1e-3)
    inner = (4 * 256 * 128 * 75 * 50 + 2 * 128 * (75 * 50) ** 2) / 1e9
    assert nl + 4 * inner == pytest.approx(45.82, abs=0.01)
    wanted = {(name, context) for name, (_, added) in table5.PAPER.items() for context in added}
    assert set(table5.HYPOTHESES) == wanted


def test_size_of_the_caption_does_not_fit(table5):
    assert "263.73" in table5.caption() and "275.58" in table5.caption()


def test_rule_by_hand(load_bench):
    counted = load_bench("mmdet_rule").counted
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(8, 4, 2, 2),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Flatten(),
        nn.Linear(4 * 36, 5),
        nn.GroupNorm(1, 5),
    ).eval()
    x = torch.zeros(2, 3, 6, 6)
    pixels, deep = 2 * 36, 2 * 8 * 36
    convolutions = pixels * (8 * 27 + 4 * (8 * 4 + 1) + 4 * (2 + 1))  # the transposed one at its output
    assert counted(model, lambda: model(x)) == convolutions + 2 * deep + deep + deep + 2 * 4 * 36 * 5
    assert not any(module._forward_hooks for module in model)


@pytest.mark.slow
def test_every_row_agrees_or_has_a_reason(table5):
    lines = list(table5.counts())
    assert [line["model"] for line in lines if line["context"] == "none"] == list(table5.PAPER)
    assert len(lines) == 16
    assert all(line["because"] for line in lines if line["context"] != "none")
