import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from srzoo.models.proposals import PyramidAnchors, proposal_network

STRIDES = [4, 8, 16, 32, 64]


def grids(size, strides=STRIDES):
    """An image of this size, and its levels, whose sides are rounded up as by convolutions of stride 2."""
    image = ImageList(torch.empty(1, 3, *size), [size])
    return image, [torch.empty(1, 1, -(-size[0] // stride), -(-size[1] // stride)) for stride in strides]


@pytest.mark.parametrize("size", [(256, 320), (800, 1216), (96, 160)])
def test_rounded_anchors_are_torchvisions(size):
    theirs = AnchorGenerator(tuple((8 * stride,) for stride in STRIDES), ((0.5, 1.0, 2.0),) * 5)
    (wanted,) = theirs(*grids(size))
    (found,) = PyramidAnchors(STRIDES)(*grids(size))
    assert torch.equal(found, wanted)


def test_anchors_that_are_not_rounded():
    """Centred on the cells' corners, of the area and the ratios that they should have, a stride apart."""
    (found,) = PyramidAnchors([8, 16], scale=4, rounded=False)(*grids((48, 40), [8, 16]))
    assert found.shape == (3 * (6 * 5 + 3 * 3), 4)
    sides = found[:, 2:] - found[:, :2]
    ratios = (sides[:, 1] / sides[:, 0]).view(-1, 3)
    torch.testing.assert_close(ratios, torch.tensor([0.5, 1.0, 2.0]).expand_as(ratios))
    torch.testing.assert_close(sides.prod(1).sqrt(), torch.tensor([32.0] * 90 + [64.0] * 27))
    centres = (found[:, 2:] + found[:, :2]) / 2
    assert centres[90 + 3 * 8].tolist() == [32, 32]  # the last cell of the coarse level, though 40 is no multiple of 16
    rounded = PyramidAnchors([8, 16], scale=4)(*grids((48, 40), [8, 16]))[0]
    assert 0.2 < (found - rounded)[:90].abs().max() < 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_anchors_and_outputs_are_float32(dtype):
    network = proposal_network(STRIDES, 8, 8, True).to(dtype).eval()
    levels = {str(i): torch.randn(1, 8, 256 // s, 320 // s, dtype=dtype) for i, s in enumerate(STRIDES)}
    images = ImageList(torch.empty(1, 3, 256, 320, dtype=dtype), [(256, 320)])
    with torch.no_grad():
        (boxes,), _ = network(images, levels)
    assert boxes.dtype == torch.float32
    assert len(boxes) > 20
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 320 and boxes[:, 3].max() <= 256
