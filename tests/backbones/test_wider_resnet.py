import timm
import torch
from torch import nn

import srzoo.backbones  # noqa: F401 (registers the model)


def build(**options) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("wider_resnet38_a2", **options)


def test_parameters():
    # From the widths and depths of Wu et al.: the convolutions, and two parameters per BatchNorm channel.
    assert sum(p.numel() for p in build(num_classes=0).parameters()) == 105_070_912


def test_default_features_are_the_deepest_of_each_stride():
    model = build(features_only=True)
    channels = [128, 256, 512, 1024, 4096]
    assert model.feature_info.channels() == channels
    features = model(torch.empty(1, 3, 65, 97, device="meta"))
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, -(-65 // s), -(-97 // s)) for c, s in zip(channels, (2, 4, 8, 16, 32))
    ]


def test_stride_8_dilates_as_the_cityscapes_models_do():
    model = build(features_only=True, output_stride=8)
    found = {
        name.split(".")[0]: module.dilation[0]
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    }
    stages = [f"stages_{i}" for i in range(6)]
    assert [found[stage] for stage in stages] == [1, 1, 1, 2, 4, 4]


def test_dropout_is_inside_the_last_two_stages():
    dropouts = {name: m.p for name, m in build().stages.named_modules() if isinstance(m, nn.Dropout2d)}
    assert dropouts == {"4.0.convs.dropout": 0.3, "5.0.convs.dropout": 0.5}
