import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srzoo.transform import Transform

TRANSFORM = Transform(540)


def test_camvid_frame_is_enlarged_and_cityscapes_kept():
    assert TRANSFORM.input_size(360, 480) == (540, 720)
    assert Transform(1024).input_size(1024, 2048) == (1024, 2048)


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
