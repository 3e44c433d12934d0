import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srzoo.images import ImageError, ImageWarning, as_image, read_image

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise
    image = Image.fromarray(np.zeros((5, 7, 3), np.uint8))
    image.paste((255, 255, 255), (0, 0, 4, 5))
    read = np.asarray(read_image(saved(tmp_path, image, "turned.jpg", exif=exif, quality=100)))
    assert read.shape == (7, 5, 3)
    assert read[:3].mean() > 200  # the left part is on top now
    assert read[5:].mean() < 50


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (10, 20, 30, 255)
    read = np.asarray(read_image(saved(tmp_path, Image.fromarray(rgba), "x.png")))
    assert (read[0, 0] == (10, 20, 30)).all()
    assert (read[3, 3] == 255).all()


def test_palette_with_and_without_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    picture.putpalette([9, 8, 7, 200, 100, 50])
    assert np.asarray(read_image(saved(tmp_path, picture, "p.png")))[0].tolist() == [[9, 8, 7], [200, 100, 50]]
    read = np.asarray(read_image(saved(tmp_path, picture, "t.png", transparency=0)))
    assert read[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_16_bit_gray_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4)
    read = np.asarray(read_image(saved(tmp_path, Image.fromarray(values), "deep.png")))
    assert np.abs(read[..., 0].astype(int) - values / 257).max() < 1
    assert (read[..., 0] == read[..., 2]).all()


@pytest.mark.parametrize("mode", ["L", "1", "LA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_become_rgb(mode):
    image = Image.fromarray(RGB).convert("L" if mode == "LA" else "RGB").convert(mode)
    assert as_image(image).mode == "RGB"
    assert as_image(image).size == (7, 5)


def test_cmyk_jpeg(tmp_path):
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "cmyk.jpg")
    red = np.asarray(read_image(path))[4, 4]
    assert red[0] > 200
    assert red[1] < 60


def test_animation_gives_its_first_frame_with_a_warning(tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=r"moving.gif: 2 frames, only the first is used"):
        assert read_image(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "webp"])
def test_truncated_files_are_refused_by_name(tmp_path, suffix):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    whole = saved(tmp_path, noise, f"whole.{suffix}").read_bytes()
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=rf"half\.{suffix}: "):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "not an image file"),
        (b"\x89PNG\r\n\x1a\n", "not an image|cannot be read"),
        (b"P5\n5; 4\n255\n" + bytes(20), r"cannot be read \(it is damaged"),
    ],
)
def test_files_that_are_no_images(tmp_path, content, reason):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"x\.png: .*({reason})"):
        read_image(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"bomb\.png: (more than .* pixels, the limit|.*cannot be read|not an image)"):
        read_image(path)


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200),
    prefix=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"BM"]),
)
def test_any_bytes_give_an_image_or_an_image_error(tmp_path_factory, data, prefix):
    path = tmp_path_factory.mktemp("fuzz") / "f"
    path.write_bytes(prefix + data)
    try:
        assert read_image(path).mode == "RGB"
    except ImageError as error:
        assert "\n" not in str(error)


def test_arrays_and_tensors_agree():
    expected = np.asarray(as_image(RGB))
    chw = torch.from_numpy(RGB).permute(2, 0, 1)
    for source in (RGB / 255.0, (RGB / 255.0).astype(np.float32), chw, chw.float() / 255, Image.fromarray(RGB)):
        assert (np.asarray(as_image(source)) == expected).all()
    gray = RGB[..., 0]
    for source in (gray, gray[..., None], torch.from_numpy(gray), torch.from_numpy(gray)[None]):
        assert (np.asarray(as_image(source)) == gray[..., None]).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int32), "got int32"),
        (np.full((4, 4, 3), 200.0), "floating values in 0..1, got 200"),
        (np.full((4, 4, 3), np.nan), "floating values in 0..1, got nan"),
        (torch.zeros(1, 3, 8, 8), r"expected an image of shape"),
        (torch.zeros(8, 8, 5), r"tensor of shape \(3, H, W\)"),
        (torch.zeros(4, 8, 8), r"got \(4, 8, 8\); leave the fourth"),
        (torch.empty(3, 8, 8, device="meta"), "on meta"),
        (torch.zeros(3, 8, 8).to_sparse(), "sparse"),
        (Image.new("RGB", (0, 5)), "0x5 pixels"),
        (b"", "0 bytes: the file is empty"),
        (b"not an image", "12 bytes: not an image file"),
        (io.StringIO("text"), "open file: .* str, expected bytes.*'rb'"),
        (17, "got int$"),
        (iter([RGB]), "got list_iterator; .*stream"),
        (None, "got NoneType"),
    ],
)
def test_values_that_are_no_images(source, message):
    with pytest.raises(ImageError, match=message):
        as_image(source)


def test_float_image_of_unknown_range():
    with pytest.raises(ImageError, match="unknown range"):
        as_image(Image.new("F", (4, 4), 3.0))


def test_a_user_s_image_is_copied():
    image = Image.fromarray(RGB)
    read = as_image(image)
    image.paste("white", (0, 0, 7, 5))
    assert (np.asarray(read) == RGB).all()


def written(path, values: np.ndarray) -> None:
    """Write ``(H, W)`` or ``(H, W, C)`` of 16 bits as a PNG file, which Pillow does for gray alone."""
    height, width, channels = values.reshape(*values.shape[:2], -1).shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 2), (30, 40, 3), (30, 40, 4)])
def test_values_that_do_not_fill_16_bits_are_said(tmp_path, bits, shape):
    values = np.random.default_rng(0).integers(0, 1 << bits, shape)
    values.flat[0] = (1 << bits) - 1
    if shape[-1] in (2, 4):
        values[..., -1] = 65535  # opaque
    written(tmp_path / "deep.png", values)
    if bits == 16:
        assert np.asarray(read_image(tmp_path / "deep.png")).max() == 255
        return
    with pytest.warns(ImageWarning, match=rf"deep.png: values up to {(1 << bits) - 1} where 65535 .* scale") as said:
        read_image(tmp_path / "deep.png")
    assert [each.message.kind for each in said] == ["range"]


def test_32_bit_integers_and_arrays_that_are_nearly_black_are_said(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.full((5, 7), 4095, np.int32)), "deep.tif")
    with pytest.warns(ImageWarning, match="up to 4095 where 65535"):
        read_image(path)
    for dark in (np.ones((5, 7, 3), np.uint8), np.full((5, 7), 1 / 255)):
        with pytest.warns(ImageWarning, match="up to 1 where 255"):
            as_image(dark)
    as_image(np.zeros((5, 7), np.uint8))  # black, as it may well be
    one_light = np.zeros((300, 300), np.uint8)
    one_light[137, 201] = 200
    as_image(one_light)


def test_a_fourth_band_that_is_no_opacity_is_said(tmp_path):
    infrared = np.full((30, 40, 4), 30, np.uint8)
    path = saved(tmp_path, Image.fromarray(infrared), "bands.png")
    for source, name in ((path, "bands.png"), (infrared, "image")):
        with pytest.warns(ImageWarning, match=rf"{name}: 100% .* transparent .* RGB") as said:
            as_image(source)
        assert said[0].message.kind == "opacity"
    rgb = RGB.copy()
    transparent = Image.fromarray(np.dstack([rgb, np.zeros((5, 7), np.uint8)]))
    with pytest.warns(ImageWarning, match="every pixel is transparent, so the opacity is ignored"):
        assert (np.asarray(read_image(saved(tmp_path, transparent, "none.png"))) == rgb).all()


def test_open_files_and_bytes(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB), "x.png")
    content = path.read_bytes()
    with open(path, "rb") as file:
        sources = [file, io.BytesIO(content), content, bytearray(content), memoryview(content), path, str(path)]
        for source in sources:
            assert (np.asarray(as_image(source)) == RGB).all()
        with pytest.raises(ImageError, match=rf"x.png: nothing after position {len(content)}; .*seek"):
            as_image(file)


def test_tensors_with_a_negative_bit_and_lazy_files(tmp_path):
    negative = torch.complex(torch.zeros(3, 4, 4), torch.full((3, 4, 4), -0.5)).conj().imag
    assert negative.is_neg() and as_image(negative).getpixel((0, 0)) == (128, 128, 128)
    path = saved(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)), "x.png")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ImageError, match=r"x\.png: cannot be read"):
        as_image(Image.open(path))


@pytest.mark.parametrize("error", [AssertionError("tile"), ZeroDivisionError(), RuntimeError("a\nb"), MemoryError()])
def test_whatever_a_decoder_raises_is_told_with_the_name(error, tmp_path, monkeypatch):
    def fail(self):
        raise error

    path = saved(tmp_path, Image.fromarray(RGB), "x.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *args: fail(None))
    with pytest.raises(ImageError, match=r"x\.png: (cannot be read|not enough memory)") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
