import timm
import torch

import srzoo.backbones  # noqa: F401 (registers the models)


def test_parameter_counts_are_the_paper_s():
    for name, expected in (("dfnet_v1", 8_020_128), ("dfnet_v2", 17_474_208)):  # 8.020 M and 17.474 M
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=0)
        assert sum(p.numel() for p in model.parameters()) == expected


def test_default_features_are_the_deepest_of_each_stride():
    for name, channels in (("dfnet_v1", [32, 64, 64, 128, 512]), ("dfnet_v2", [32, 64, 128, 256, 512])):
        with torch.device("meta"):
            model = timm.create_model(name, features_only=True)
            shapes = [tuple(f.shape) for f in model(torch.empty(1, 3, 65, 97))]
        assert model.feature_info.channels() == channels
        assert shapes == [(1, c, -(-65 // s), -(-97 // s)) for c, s in zip(channels, (2, 4, 8, 16, 32))]


def test_every_stage_can_be_a_feature():
    model = timm.create_model("dfnet_v1", features_only=True, out_indices=(3, 4, 5))
    assert list(zip(model.feature_info.channels(), model.feature_info.reduction())) == [(128, 16), (256, 32), (512, 32)]
