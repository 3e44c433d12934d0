import pytest
import torch


@pytest.fixture
def fig1a(load_bench):
    pytest.importorskip("matplotlib")
    return load_bench("fig1a")


def test_shares_of_pixels_above_the_threshold(fig1a):
    first = torch.tensor([[1.0, 9.0, 10.0, 0.0], [2.0, 2.0, 0.0, 0.0]])  # two channels, four pixels
    second = torch.tensor([[5.0, 5.0], [1.0, 2.0]])
    pairs = [(first, torch.tensor([0, 1, 1, -1])), (second, torch.tensor([0, 1]))]
    # Channel 0 is above 8 on the second and third pixel of the first image; channel 1 above 1.6 on three pixels.
    assert torch.allclose(fig1a.count(pairs, 3), torch.tensor([[0, 1 / 2], [2 / 3, 2 / 3], [0, 0]]))


def test_an_empty_channel_is_above_nothing(fig1a):
    assert fig1a.count([(torch.zeros(1, 2), torch.tensor([0, 1]))], 2).sum() == 0


def test_features_and_classes_have_the_same_pixels(fig1a):
    import srzoo

    (image, target), *_ = fig1a.example_frames()
    values, classes = fig1a.features(srzoo.Segmenter().model, image, target)
    assert values.shape[1] == len(classes)
    assert set(classes.tolist()) <= set(range(12))  # 11 is void in CamVid's files
