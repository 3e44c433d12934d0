import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srzoo.zoo.transform import Transform

TRANSFORM = Transform(540)


def test_camvid_frame_is_enlarged_and_cityscapes_kept():
    assert TRANSFORM.input_size(360, 480) == (540, 720)
    assert Transform(1024).input_size(1024, 2048) == (1024, 2048)


@given(height=st.integers(1, 4000), width=st.integers(1, 4000), multiple=st.sampled_from([8, 16, 32]))
def test_sides_are_multiples(height, width, multiple):
    """Rounded down, so that neither limit is exceeded."""
    plain = TRANSFORM.input_size(height, width)
    rounded = dataclasses.replace(TRANSFORM, multiple=multiple).input_size(height, width)
    for side, before in zip(rounded, plain):
        assert side % multiple == 0
        assert side == 32 or 0 <= before - side < multiple


def test_scaled_and_without_reduction():
    assert TRANSFORM.scaled(1.0) == TRANSFORM
    assert TRANSFORM.scaled(0.5).input_size(360, 480) == (270, 360)
    assert Transform(1024).scaled(1.25).input_size(1024, 2048) == (1280, 2560)
    assert TRANSFORM.without_reduction(9000, 12000).input_size(9000, 12000) == (9000, 12000)
    assert TRANSFORM.without_reduction(360, 480).input_size(360, 480) == (540, 720)


@given(height=st.integers(1, 40_000), width=st.integers(1, 40_000))
def test_every_size_gives_an_input_that_is_bounded(height, width):
    h, w = TRANSFORM.input_size(height, width)
    assert min(h, w) >= 32
    assert h * w <= 1.1 * TRANSFORM.max_pixels
    if max(height, width) <= 3 * min(height, width) and min(height, width) >= 100:
        assert (h / w) / (height / width) == pytest.approx(1, abs=0.02)


def test_output_is_normalised():
    x = Transform(32, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0))(Image.new("RGB", (64, 48), (255, 0, 51)))
    assert x.shape == (1, 3, 32, 43)
    assert x[0, :, 0, 0].tolist() == pytest.approx([1.0, -0.5, 0.1])


def test_uint8_and_float_pixels_are_normalized_alike_and_kept():
    pixels = torch.full((1, 3, 2, 2), 51.0)
    expected = TRANSFORM.normalize(pixels.to(torch.uint8))
    assert torch.equal(TRANSFORM.normalize(pixels), expected)
    assert (pixels == 51).all()


@pytest.mark.parametrize("size", [(160, 1001), (64, 48), (208, 155)])
def test_columns_are_those_of_the_whole(size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    transform = Transform(32, multiple=16).without_reduction(image.height, image.width)
    height, width = transform.input_size(image.height, image.width)
    whole = transform.resize(image)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    assert torch.equal(whole[0].permute(1, 2, 0), torch.tensor(resized))
    for start, stop in ((0, 16), (11, 47), (0, width)):
        assert torch.equal(transform.resize_columns(image, start, stop), whole[..., start:stop])


def test_columns_of_an_image_that_changes_its_width():
    image = Image.new("RGB", (100, 64))
    with pytest.raises(ValueError, match="100.* 96"):
        Transform(64, multiple=16).resize_columns(image, 0, 32)
