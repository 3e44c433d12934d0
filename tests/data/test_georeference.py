"""GeoTIFF: files of many bands, and results that lie where their image lies."""

import sys

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

import srzoo
from srzoo.data.bands import as_bands
from srzoo.data.check import check
from srzoo.data.georeference import georeference_of, tiff_tags
from srzoo.images import ImageError
from srzoo.tasks.saving import source_of

TAGS = {
    33550: (0.3, 0.3, 0.0),
    33922: (0.0, 0.0, 0.0, 616500.25, 3345000.75, 0.0),
    34735: (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 26914),
    34737: "WGS 84 / UTM|",
}


def write_rgb(path, more=None):
    directory = ImageFileDirectory_v2()
    for tag, value in {**TAGS, **(more or {})}.items():
        if tag in (33550, 33922):
            directory.tagtype[tag] = 12
        directory[tag] = value
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, tiffinfo=directory)
    return path


def test_labels_keep_the_georeference(tmp_path):
    path = write_rgb(tmp_path / "ortho.tif")
    segmenter = srzoo.Segmenter(srzoo.create_model("srnet", backbone="test_efficientnet", num_classes=3))
    result = segmenter(path)
    written = result.save(tmp_path / "out", "ortho.tif")
    assert [each.name for each in written] == ["out_labels.png", "out_overlay.jpg", "out_labels.tif"]
    with Image.open(written[-1]) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), result.labels)
        assert {tag: image.tag_v2[tag] for tag in TAGS} == TAGS
    assert source_of(written[-1]) == "ortho.tif"
    result.save(tmp_path / "out", "ortho.tif")  # over a result of its own
    Image.new("L", (4, 4)).save(written[-1])
    with pytest.raises(FileExistsError, match="out_labels.tif"):
        result.save(tmp_path / "out", "ortho.tif")
    assert [len(each.save(tmp_path / f"b{i}")) for i, each in enumerate(segmenter([path, Image.open(path)]))] == [3, 2]


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x01" + b"\xff" * 9])
def test_files_that_are_no_tiff(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)
    assert georeference_of(tmp_path / "x.tif") is None


def test_nothing_is_told_where_it_would_be_wrong(tmp_path):
    assert georeference_of(write_rgb(tmp_path / "turned.tif", {274: 6})) is None  # it is read upright
    assert georeference_of(tmp_path / "missing.tif") is None
    Image.new("L", (4, 4)).save(tmp_path / "plain.tif")
    assert tiff_tags(tmp_path / "plain.tif")[256] == 4
    for source in (tmp_path / "plain.tif", str(tmp_path / "photo.png"), b"II*\0", Image.new("L", (4, 4))):
        assert georeference_of(source) is None


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize(("bands", "dtype"), [(7, np.uint8), (4, np.uint16), (3, np.uint16), (5, np.float32)])
def test_many_bands(tmp_path, bands, dtype, planar, compression):
    tifffile = pytest.importorskip("tifffile")
    if compression == "lzw":
        pytest.importorskip("imagecodecs")
    pixels = np.random.default_rng(0).random((20, 30, bands))
    stored = pixels.astype(dtype) if dtype == np.float32 else (pixels * np.iinfo(dtype).max).astype(dtype)
    content = stored if planar == "contig" else np.moveaxis(stored, 2, 0)
    extra = [(33550, 12, 3, TAGS[33550], True), (33922, 12, 6, TAGS[33922], True)]
    path = tmp_path / "bands.tif"
    tifffile.imwrite(
        path, content, planarconfig=planar, photometric="minisblack", compression=compression, extratags=extra
    )
    found = as_bands(path, bands) if bands != 3 else as_bands(path, 1)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    if bands != 3:
        assert found == pytest.approx(stored.astype(np.float32) * np.float32(255 / full), abs=1e-2)
    assert dict(georeference_of(path).tags) == {33550: TAGS[33550], 33922: TAGS[33922]}
    with pytest.raises(ImageError, match=rf"{bands} channels, but the model takes 6"):
        as_bands(path, 6)


def test_many_bands_need_a_package(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImportError, match=r"x.tif.*srzoo\[geo\]"):
        as_bands(tmp_path / "x.tif", 5)


@pytest.mark.filterwarnings("default:.*has no split for val")
def test_the_check_reads_the_bands_of_the_model(tmp_path, write_mask):
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "images").mkdir()
    for name in "ab":
        pixels = np.random.default_rng(0).integers(0, 65535, (7, 11, 5), dtype=np.uint16)
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", pixels, photometric="minisblack", planarconfig="contig")
        write_mask(tmp_path / "masks" / f"{name}.png", [0, 1, 0, 1, 0, 1, 0])
    assert check(tmp_path, channels=5).errors == []
    assert len(check(tmp_path, channels=4).errors) == 2
