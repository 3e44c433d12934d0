import pickle

import numpy as np
import pytest
import yaml
from PIL import Image

from srzoo.data.masks import IdMap, Storage, pack, parse_id_map, read_mask, storage_of
from srzoo.images import ImageError

IDS = np.array([[0, 1, 2], [2, 2, 255]], np.uint8)


def saved(array_or_image, path):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path)
    return path


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IDS),
        Image.fromarray(IDS.astype(np.uint16)),
        Image.fromarray(np.repeat(IDS[..., None], 3, 2)),  # gray, saved as RGB
        Image.fromarray(np.dstack([IDS, np.full_like(IDS, 255)])),  # with an alpha channel
    ],
    ids=["L", "I;16", "RGB", "LA"],
)
def test_every_way_to_store_ids_gives_them(image, tmp_path):
    assert (read_mask(saved(image, tmp_path / "m.png")) == IDS).all()


def test_a_palette_gives_indices_or_its_colours(tmp_path):
    image = Image.fromarray(IDS)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, *range(247), *range(256), *range(256)])
    path = saved(image, tmp_path / "m.png")
    assert (read_mask(path) == IDS).all()
    assert read_mask(path, as_colours=True)[0].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    with Image.open(path) as image:
        stored = storage_of(image)
    assert (stored.encoding, stored.has_channels, stored.palette[1]) == ("PNG", False, 40 << 16 | 50 << 8 | 60)
    assert storage_of(Image.fromarray(np.dstack([IDS] * 3))) == Storage(None, True, {})


def test_sixteen_bits_are_kept_and_one_bit_is_two_classes(tmp_path):
    assert read_mask(saved(np.array([[0, 26013]], np.uint16), tmp_path / "a.png")).tolist() == [[0, 26013]]
    assert read_mask(saved(Image.fromarray(IDS > 0), tmp_path / "b.png")).tolist() == [[0, 1, 1], [1, 1, 1]]


def test_unreadable_masks_are_named(tmp_path):
    path = saved(np.full((2, 3), 0.5, np.float32), tmp_path / "m.tif")
    with pytest.raises(ImageError, match=r"m.tif: .*floating-point.*PNG"):
        read_mask(path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"broken.png: "):
        read_mask(tmp_path / "broken.png")


def test_whole_numbers_are_read_from_floating_ones(tmp_path):
    assert read_mask(saved(IDS.astype(np.float32), tmp_path / "m.tif")).tolist() == IDS.tolist()
    np.save(tmp_path / "m.npy", IDS.astype(float))
    assert read_mask(tmp_path / "m.npy").tolist() == IDS.tolist()


def test_values_are_mapped():
    ids = IdMap({0: 255, 1: 0, 2: 1, 255: 255})(IDS, "m.png")
    assert ids.tolist() == [[255, 0, 1], [1, 1, 255]]
    assert ids.dtype == np.uint8
    large = IdMap({26013: 3, 0: 0})(np.array([[0, 26013]], np.uint16), "m.png")
    assert large.tolist() == [[0, 3]]


def test_colours_are_mapped():
    mask = np.array([[[128, 0, 64], [0, 0, 0]]], np.uint8)
    assert pack(mask).tolist() == [[0x800040, 0]]
    id_map = IdMap({(128, 0, 64): 4, (0, 0, 0): 255})
    assert id_map(mask, "m.png").tolist() == [[4, 255]]
    assert pickle.loads(pickle.dumps(id_map))(mask, "m.png").tolist() == [[4, 255]]
    assert len(pickle.dumps(id_map)) < 1000  # it goes to every worker


@pytest.mark.parametrize(
    ("id_map", "mask", "message"),
    [
        (IdMap.identity(2), IDS, r"m.png: id 2 .*\(3 values from 0 to 255\); `srzoo data check`"),
        (IdMap.identity(2), np.array([[300]], np.uint16), "m.png: id 300 "),
        (IdMap.identity(2), np.array([[-1]], np.int32), "m.png: id -1 "),
        (IdMap.identity(2), np.zeros((1, 1, 3), np.uint8), "m.png: .*colours.* ids"),
        (IdMap({(0, 0, 0): 0}), IDS, "m.png: .*ids.* colours"),
        (IdMap({(0, 0, 0): 0}), np.full((1, 1, 3), 9, np.uint8), r"m.png: colour #090909 .*\(1 colours\)"),
    ],
)
def test_what_is_not_in_the_map_is_named(id_map, mask, message):
    with pytest.raises(ValueError, match=message):
        id_map(mask, "m.png")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({0: 254}, "0 maps to 254, .*0..253, or 255"),
        ({0: "sky"}, "0 maps to 'sky'"),
        ({0: 0, "#00ff00": 1}, "0 .*0 to 65535"),
        ({-1: 0}, "-1 .*0 to 65535"),
        ({"#00ff": 0}, r"\(0, 255\) .*0 to 65535"),
        ({"red": 0}, "'red' .*'#ff0000'"),
        ({"0-70000": 0}, "65536 .*0 to 65535"),
        ({"9-3": 0}, "expected at least one"),
        ({"0-": 0}, "'0-' .*'0-127'"),
        ({0: 255}, "only void.*0..253"),
        ([0, 1], "expected e.g. {0: 255, 1: 0}"),
    ],
)
def test_an_invalid_map(values, message):
    with pytest.raises(ValueError, match=message):
        parse_id_map(values)


def test_a_map_as_yaml_has_it():
    assert parse_id_map({"#ff0080": 1, "#000000": 255}).mapping == {(255, 0, 128): 1, (0, 0, 0): 255}


@pytest.mark.parametrize("text", ["{0: 255, 7: 0}", "{'#000000': 0, '#ff0000': 1}", "{0-127: 0, 128-255: 1}"])
def test_a_map_on_one_line_is_read_as_it_was(text):
    assert parse_id_map(yaml.safe_load(text)).to_yaml() == text


def test_a_mask_that_is_drawn_as_opacity(tmp_path):
    opacity = np.zeros((4, 5), np.uint8)
    opacity[1:3] = 255
    for colour in ((255, 0, 0), (0, 0, 0), (255, 255, 255)):
        rgba = np.dstack([np.full((4, 5, 3), colour, np.uint8), opacity])
        Image.fromarray(rgba).save(tmp_path / "m.png")
        assert (read_mask(tmp_path / "m.png") == opacity).all()
    Image.fromarray(np.dstack([np.full((4, 5), 255, np.uint8), opacity])).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == opacity).all()
    rgba[..., 0] = opacity // 255 * 3  # colours that differ are the mask, whatever the opacity is
    Image.fromarray(rgba).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").shape == (4, 5, 3)
    Image.fromarray(np.dstack([opacity // 255, np.full((4, 5), 255, np.uint8)])).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == opacity // 255).all()
