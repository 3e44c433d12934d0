"""Regions in a crowd count neither as objects nor as background."""

import torch

from srzoo.models.crowds import without_crowds


def test_background_boxes_in_a_crowd_are_left_out():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [4, 0, 14, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    labels = torch.tensor([0, 0, 0, 0, 3])
    crowds = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110]])
    # All of the first lies in the crowd, exactly half of the second, 0.6 of the third; the last is an object.
    assert without_crowds(labels, boxes, crowds).tolist() == [-1, 0, -1, 0, 3]
    assert torch.equal(without_crowds(labels, boxes, crowds[:0]), labels)
    assert torch.equal(without_crowds(labels.float(), boxes, None), labels.float())


def test_both_samplers_leave_crowds_out(tiny, make_target):
    """With a crowd over the whole image there is no background to sample."""
    model = tiny("mask_rcnn").train()
    target = make_target((96, 128), [(20, 20, 60, 70)])
    target = {**target, "labels": target["labels"] + 1, "crowds": torch.tensor([[0.0, 0, 128, 96]])}
    anchors = [torch.tensor([[20.0, 20, 60, 70], [0, 0, 30, 30], [90, 50, 120, 90]])]
    (labels,), _ = model.rpn.assign_targets_to_anchors(anchors, [target])
    assert labels.tolist() == [1, -1, -1]
    boxes, _, (labels,), _ = model.roi_heads.select_training_samples(list(anchors), [target])
    assert (labels > 0).all() and len(boxes[0]) == 2  # the proposal on the object, and the object itself
