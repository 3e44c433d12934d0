import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from srzoo.zoo.transform import Transform

TRANSFORM = Transform(540)


def test_camvid_is_enlarged_and_cityscapes_keeps_its_size():
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


# The transform of Faster and Mask R-CNN.
DETECTOR = Transform(800, long_side=1333, multiple=32, fit="pad")


def test_sizes_for_a_detector():
    assert (DETECTOR.content_size(480, 640), DETECTOR.input_size(480, 640)) == ((800, 1067), (800, 1088))
    assert (DETECTOR.content_size(1024, 2048), DETECTOR.input_size(1024, 2048)) == ((666, 1333), (672, 1344))
    assert DETECTOR.scaled(0.5).input_size(480, 640) == (416, 544)
    assert DETECTOR.without_reduction(2000, 3000).content_size(2000, 3000) == (2000, 3000)
    stretched = dataclasses.replace(DETECTOR, fit="stretch")
    assert stretched.content_size(480, 640) == stretched.input_size(480, 640) == (800, 1056)


@given(height=st.integers(100, 3000), width=st.integers(100, 3000), multiple=st.sampled_from([1, 32, 64]))
def test_padding_keeps_the_proportions(height, width, multiple):
    assume(max(height, width) <= 8 * min(height, width))
    transform = dataclasses.replace(DETECTOR, multiple=multiple)
    content = transform.content_size(height, width)
    scale = min(800 / min(height, width), 1333 / max(height, width))
    for side, own, whole in zip((height, width), content, transform.input_size(height, width)):
        assert abs(own - side * scale) <= 0.5
        assert whole % multiple == 0 <= whole - own < multiple


def test_padding_is_the_mean_colour():
    transform = Transform(40, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), multiple=32, fit="pad")
    x = transform(Image.new("RGB", (50, 40), (255, 255, 255)))
    assert x.shape == (1, 3, 64, 64)
    assert (x[..., :40, :50] == 1).all()
    assert x.sum() == 3 * 40 * 50
    assert transform.resize(Image.new("RGB", (50, 40))).shape == (1, 3, 40, 50)


def test_an_unknown_fit():
    with pytest.raises(ValueError, match="'stretch' or 'pad', got 'crop'"):
        Transform(800, fit="crop")


def test_scaled_and_without_reduction():
    assert TRANSFORM.scaled(1.0) == TRANSFORM
    assert TRANSFORM.scaled(0.5).input_size(360, 480) == (270, 360)
    assert Transform(1024).scaled(1.25).input_size(1024, 2048) == (1280, 2560)
    assert TRANSFORM.without_reduction(9000, 12000).input_size(9000, 12000) == (9000, 12000)
    assert TRANSFORM.without_reduction(360, 480).input_size(360, 480) == (540, 720)


@given(height=st.integers(1, 40_000), width=st.integers(1, 40_000))
def test_the_input_is_bounded_for_every_size(height, width):
    h, w = TRANSFORM.input_size(height, width)
    assert min(h, w) >= 32
    assert h * w <= 1.1 * TRANSFORM.max_pixels
    if max(height, width) <= 3 * min(height, width) and min(height, width) >= 100:
        assert (h / w) / (height / width) == pytest.approx(1, abs=0.02)


def test_output_is_normalized():
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


def test_another_short_side_keeps_the_proportion_of_the_long_one():
    assert Transform(540).with_short_side(360) == Transform(360)
    cityscapes = Transform(1024, long_side=2048, fit="pad")
    half, large = cityscapes.with_short_side(512), cityscapes.with_short_side(1536)
    assert (half.short_side, half.long_side) == (512, 1024)
    assert large.content_size(1024, 2048) == (1536, 3072)


@pytest.mark.parametrize(("short_side", "size"), [(2160, (2160, 3840)), (4000, (4000, 6000)), (1024, (1080, 2560))])
def test_a_short_side_that_was_asked_for_is_kept(short_side, size):
    for own in (512, 1024, 360):
        assert min(Transform(own).with_short_side(short_side).input_size(*size)) == short_side
    assert Transform(512).with_short_side(360).max_pixels == Transform(512).max_pixels


def test_a_limit_of_pixels_is_said():
    transform = Transform(4000, multiple=16)
    with pytest.warns(UserWarning, match="6000x4000 pixels .* short side of 1168, not 4000, .* 2,097,152 pixels"):
        transform.warn_of_limit(4000, 6000)
    transform.warn_of_limit(1000, 1500)
    Transform(360, multiple=16).warn_of_limit(1, 3000)  # enlarged less, which loses nothing
