import numpy as np
import pytest
import torch

from srzoo.data.objects import Segment
from srzoo.tasks.panoptic.augment import PanopticAugment

COLOURS = np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250)], np.uint8)


def under(x: torch.Tensor, label: int) -> torch.Tensor:
    """The pixels of an augmented image that have the colour of a class."""
    return ((x.permute(1, 2, 0).int() - torch.from_numpy(COLOURS[label]).int()).abs() < 125).all(2)


@pytest.mark.parametrize("seed", range(8))
def test_segments_move_with_the_image(seed):
    """Things get masks and surfaces the semantic map, whose colours are the image's."""
    ids = np.ones((90, 120), np.int32)
    ids[45:] = 2
    ids[10:40, 20:60] = 70000
    ids[50:80, 70:110] = 5
    ids[:, :3] = 0
    segments = [
        Segment(1, 0, False, 1),
        Segment(2, 2, False, 1),
        Segment(70000, 1, False, 1200),
        Segment(5, 1, True, 1200),
    ]
    image = np.zeros((90, 120, 3), np.uint8)
    for each in segments:
        image[ids == each.id] = COLOURS[each.class_id]
    torch.manual_seed(seed)
    augment = PanopticAugment(64, (0.5, 2), min_share=0.0, things=(False, True, False))
    x, found = augment(image, ids, segments)
    assert set(found["labels"].tolist()) <= {1}
    assert len(found["labels"]) <= 1  # the crowd is no target
    semantic = found["semantic"]
    assert semantic.shape == x.shape[1:] and semantic.dtype == torch.uint8
    assert set(semantic.unique().tolist()) <= {0, 1, 2, 255}
    close = torch.stack([under(x, label) & (semantic == label) for label in range(3)]).any(0)
    assert close[semantic != 255].float().mean() > 0.9
    for i in range(len(found["labels"])):
        assert (semantic[found["masks"].full(i).bool()] == 1).all()
