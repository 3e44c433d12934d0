"""Images whose number of channels is not three."""

import numpy as np
import pytest
import torch
from PIL import Image

from srzoo.data.bands import Bands, as_bands, as_picture
from srzoo.images import ImageError


def test_sixteen_bits_keep_their_precision(tmp_path):
    values = np.arange(65536 - 6 * 7, 65536, dtype=np.uint16).reshape(6, 7)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = as_bands(tmp_path / "deep.png", 1)
    assert found.shape == (6, 7, 1)
    assert np.array_equal(np.rint(found[:, :, 0] * 257), values)


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("LA", 2), ("RGBA", 4), ("CMYK", 4), ("RGB", 1), ("P", 1), ("F", 1)]
)
def test_modes_of_pillow(mode, channels):
    image = Image.new("RGB", (5, 4), (0, 0, 0)).convert(mode)
    assert as_bands(image, channels).shape == (4, 5, channels)


def test_gray_of_colour():
    white = Image.new("RGB", (2, 2), "white")
    assert as_bands(white, 1) == pytest.approx(np.full((2, 2, 1), 255))


def test_arrays_and_tensors(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
    np.save(tmp_path / "bands.npy", array)
    for source in (array, array / 255, torch.from_numpy(array).permute(2, 0, 1), tmp_path / "bands.npy"):
        assert as_bands(source, 7) == pytest.approx(array.astype(float), abs=1e-3)


@pytest.mark.parametrize(
    ("source", "channels", "message"),
    [
        (np.zeros((4, 5, 3)), 4, "3 channels.* 4.*in_channels=3"),
        (np.zeros((4, 5), np.int32), 1, "int32"),
        (np.full((4, 5), 1.5), 1, "1.5"),
        (np.full((4, 5), np.nan), 1, "nan"),
        (np.zeros((0, 5)), 1, r"\(0, 5, 1\)"),
        (np.zeros(5), 1, r"\(5,\)"),
        ("absent.npy", 4, "absent.npy"),
        ("absent.png", 4, "absent.png"),
    ],
)
def test_invalid(source, channels, message):
    with pytest.raises(ImageError, match=message):
        as_bands(source, channels)


def test_a_picture_has_the_interface_that_prediction_uses():
    array = np.random.default_rng(0).integers(0, 256, (8, 12, 4), dtype=np.uint8)
    bands = as_picture(array, 4)
    assert (bands.width, bands.height, bands.size) == (12, 8, (12, 8))
    assert np.array_equal(bands.crop((1, 2, 5, 4)).pixels, array[2:4, 1:5])
    assert np.array_equal(np.array(bands.rgb()), array[:, :, :3])
    assert Bands(array[:, :, 3:].astype(np.float32)).rgb().mode == "RGB"
    smaller = bands.resize((6, 4), Image.Resampling.BILINEAR)
    wanted = Image.fromarray(array[:, :, 3].astype(np.float32)).resize((6, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(smaller.pixels[:, :, 3], np.array(wanted))
    assert as_picture(array[:, :, :3], 3).mode == "RGB"
