import pytest
import torch
from torchvision import tv_tensors

from srzoo.data.scaled_crop import ScaledCrop, randint


def params_of(transform, size, seed=0):
    torch.manual_seed(seed)
    return transform.make_params([tv_tensors.Image(torch.zeros(3, *size, dtype=torch.uint8))])


def test_example_of_the_docstring():
    params = params_of(ScaledCrop(50, (2, 2)), (100, 200))
    assert params["size"] == [50, 50]
    top, left, *window = params["box"]
    assert window == [25, 25]
    assert 0 <= top <= 75 and 0 <= left <= 175


@pytest.mark.parametrize(
    ("short", "long", "size", "base"),
    [(None, None, (480, 640), (480, 640)), (800, None, (480, 640), (800, 1067)), (800, 1333, (400, 1000), (533, 1333))],
)
def test_base_size(short, long, size, base):
    transform = ScaledCrop(None, (1, 1), short, long)
    assert tuple(transform.base_size(size)) == base
    params = params_of(transform, size)
    assert tuple(params["size"]) == base
    assert params["box"] == (0, 0, *size)


def test_factors_are_log_uniform():
    transform = ScaledCrop(None, (0.25, 4))
    factors = [params_of(transform, (1000, 1000), seed)["size"][0] / 1000 for seed in range(200)]
    assert min(factors) < 0.35 and max(factors) > 3
    assert 70 < sum(factor < 1 for factor in factors) < 130


def test_corners_reach_every_border():
    transform = ScaledCrop(30, (1, 1))
    boxes = [params_of(transform, (32, 33), seed)["box"] for seed in range(60)]
    assert {box[0] for box in boxes} == {0, 1, 2}
    assert {box[1] for box in boxes} == {0, 1, 2, 3}
    assert {randint(1) for _ in range(30)} == {0, 1}


@pytest.mark.parametrize("size", [(7, 300), (1, 1), (31, 33)])
def test_an_image_smaller_than_the_crop_stays_whole(size):
    params = params_of(ScaledCrop(64, (0.01, 0.02)), size)
    assert min(params["size"]) >= 1
    assert params["box"][2] <= size[0] and params["box"][3] <= size[1]
    assert params_of(ScaledCrop(400, (1, 1)), size)["size"] == list(size)


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7])
def test_a_mask_stays_over_its_pixels(factor):
    """Columns by number in both; a mask resized at pixel corners would be off by half a pixel."""
    columns = torch.arange(90, dtype=torch.uint8).expand(60, 90)
    image, mask = tv_tensors.Image(columns.expand(3, 60, 90)), tv_tensors.Mask(columns)
    transform = ScaledCrop(40, (factor, factor))
    params = params_of(transform, (60, 90))
    x, y = transform.transform(image, params), transform.transform(mask, params)
    assert x.shape[1:] == y.shape
    assert set(y.unique().tolist()) <= set(range(90))
    assert (x[0].float() - y.float())[:, 2:-2].mean().abs() < 0.15
