import pytest
import torch
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPModule
from torch import nn
from torch.nn import functional as F
from torchvision.models.segmentation import deeplabv3

from srzoo.layers import ASPP, PyramidPooling
from srzoo.layers.conv import LenientBatchNorm2d


def randomise(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.7, 1.4)
            nn.init.uniform_(norm.weight, 0.8, 1.2)
            nn.init.uniform_(norm.bias, -0.2, 0.2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(7, 5), (33, 47)])
def test_aspp_agrees_with_torchvision_s(size, training):
    torch.manual_seed(0)
    module, theirs = ASPP(12, 10, rates=(2, 5)).double(), deeplabv3.ASPP(12, [2, 5], 10).double()
    randomise(module)
    state = module.state_dict()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state.values(), strict=True)))
    theirs.project[-1].p = 0.0  # dropout
    x = torch.randn(3, 12, *size, dtype=torch.float64)
    torch.testing.assert_close(module.train(training)(x), theirs.train(training)(x))


def test_pyramid_pooling_agrees_with_segmentation_models_pytorch_s():
    """In its pooling and convolutions. Theirs has no norm after one bin, and resizes with ``align_corners=True``."""
    torch.manual_seed(0)
    module = PyramidPooling(16, 10).double().eval()
    randomise(module)
    theirs = PSPModule(16).double().eval()
    for stage, (conv, norm, _) in zip(module.stages, (block.pool[1] for block in theirs.blocks), strict=True):
        conv.load_state_dict(stage.conv.state_dict(), strict=False)
        norm.load_state_dict(stage.bn.state_dict(), strict=isinstance(norm, nn.BatchNorm2d))
    module.stages[0].bn = nn.Identity()
    nn.init.zeros_(theirs.blocks[0].pool[1][0].bias)
    x = torch.randn(2, 16, 13, 9, dtype=torch.float64)
    pooled = [F.interpolate(block.pool(x), size=x.shape[2:], mode="bilinear") for block in theirs.blocks]
    torch.testing.assert_close(module(x), module.fuse(torch.cat([x, *pooled], 1)))


def test_batch_norm_of_one_value_uses_running_statistics():
    norm = LenientBatchNorm2d(4)
    randomise(norm)
    x = torch.randn(1, 4, 1, 1)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    trained = norm.train()(x)
    torch.testing.assert_close(trained, norm.eval()(x), rtol=0, atol=0)
    torch.testing.assert_close(dict(norm.state_dict()), before, rtol=0, atol=0)


def test_batch_norm_of_more_values_is_pytorch_s():
    norm, plain = LenientBatchNorm2d(4).train(), nn.BatchNorm2d(4).train()
    x = torch.randn(1, 4, 1, 2)
    torch.testing.assert_close(norm(x), plain(x), rtol=0, atol=0)
    torch.testing.assert_close(dict(norm.state_dict()), dict(plain.state_dict()), rtol=0, atol=0)
