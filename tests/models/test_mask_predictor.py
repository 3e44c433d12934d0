import pytest
import torch
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from srzoo.models.mask_predictor import MaskPredictor


@pytest.mark.parametrize("regions", [5, 0])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_training_computes_what_torchvision_does(regions, memory_format):
    torch.manual_seed(0)
    theirs = MaskRCNNPredictor(12, 10, 3).double()
    ours = MaskPredictor(12, 10, 3).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(regions, 12, 7, 9, dtype=torch.float64).contiguous(memory_format=memory_format)
    results = []
    for module in (ours, theirs):
        own = x.clone().requires_grad_()
        found = module(own)
        (found * torch.arange(1.0, 1 + found[0:1].numel()).view_as(found[0:1])).sum().backward()
        results.append([found, own.grad, *(each.grad for each in module.parameters())])
    torch.testing.assert_close(*results)
    assert regions == 0 or results[0][1].abs().sum() > 0


def test_evaluation_is_torchvisions():
    ours = MaskPredictor(12, 10, 3).eval()
    theirs = MaskRCNNPredictor(12, 10, 3).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 12, 7, 7)
    assert torch.equal(ours(x), theirs(x))
