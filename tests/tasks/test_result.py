"""What the results of all tasks share, on the one of semantic segmentation."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFont
from pycocotools import mask as coco_mask

import srzoo
from srzoo.labels.street import CAMVID, CITYSCAPES
from srzoo.tasks.drawing import drawn_colour, font_for, legend, with_legend
from srzoo.tasks.saving import is_result_of, refuse_foreign, source_of

CLASSES, PALETTE = ("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180))


@pytest.fixture
def result():
    labels = np.zeros((60, 90), np.uint8)
    labels[10:30, 20:50] = 1
    labels[15:20, 25:30] = 0  # a hole
    return srzoo.Segmentation(Image.new("RGB", (90, 60), (100, 100, 100)), labels, CLASSES, PALETTE, [])


def test_mask(result):
    assert (result.mask("car") == (result.labels == 1)).all() and (result.mask(1) == result.mask("car")).all()
    assert not result.mask("sky").any()
    with pytest.raises(ValueError, match="'cra'.*'car'.*road"):
        result.mask("cra")


@pytest.mark.parametrize("base", ["", ".", "/"])
def test_files_need_a_name(result, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"'out/street', got '{base or '.'}'"):
        result.save(base)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("which", [7, -1, 1.0, None, True])
def test_a_number_without_a_class(result, which):
    with pytest.raises(ValueError, match=f"no class {which!r}; they are 0 to 2,"):
        result.mask(which)


@pytest.mark.parametrize("alpha", [-0.1, 2, "a", None, float("nan")])
def test_an_opacity_out_of_range(result, alpha):
    with pytest.raises(ValueError, match=f"alpha .*0 to 1, got {alpha!r}"):
        result.overlay(alpha)


def test_what_is_there_is_not_written_as_nothing(result):
    result.labels[:] = 0
    result.labels[0, 0] = 1
    assert [each.value for each in result.found()] == ["100.0%", "<0.1%"]


def test_short_form_and_plain_numbers(result):
    assert repr(result) == "Segmentation(90x60: road 89.4%, car 10.6%)"
    assert [type(share) for share in result.shares().values()] == [float, float]
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_legend_is_below_the_picture_and_names_what_was_found(result):
    plain, named = result.overlay(), result.overlay(legend=True)
    assert named.width >= plain.width and named.height > plain.height
    assert (np.asarray(named)[:60, :90] == np.asarray(plain)).all()
    colours = {colour for _, colour in named.crop((0, 60, *named.size)).getcolors(1 << 20)}
    assert {drawn_colour(PALETTE[0]), drawn_colour(PALETTE[1])} <= colours and drawn_colour(PALETTE[2]) not in colours
    assert result.legend().width == named.width


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (2000, 30), (640, 480), (6000, 4000)])
def test_legend_fits_pictures_of_any_size(size):
    """Every patch is whole, however narrow the picture, and the letters grow with it."""
    entries = [(f"class {i}", (200, 8 * i, 3)) for i in range(20)] + [("x" * 100000, (1, 2, 3))]
    picture = with_legend(Image.new("RGB", size), entries)
    counts = {colour: count for count, colour in picture.getcolors(1 << 24)}
    areas = [counts[colour] for _, colour in entries]
    assert max(areas) == min(areas) >= 100
    assert picture.width <= max(size[0], 400) and (areas[0] > 5000) == (size == (6000, 4000))
    assert legend([], 50, 12).width == 50 and legend([], 50, 12).height > 12  # a picture that can be saved
    assert with_legend(Image.new("RGB", size), []).size == size


def test_letters_beyond_english_come_from_a_font_of_the_system(monkeypatch):
    """With a stand-in for it: Pillow's own has no ß."""
    asked, usual, truetype = [], ImageFont.load_default(12), ImageFont.truetype

    def installed(file, size, **options):
        if not isinstance(file, str):  # Pillow's own
            return truetype(file, size, **options)
        asked.append((file, size))
        if len(asked) < 2:
            raise OSError("cannot open resource")
        return Whole() if len(asked) > 2 else usual

    class Whole:
        def getmask(self, text):
            return text.encode()

    monkeypatch.setattr(ImageFont, "truetype", installed)
    assert isinstance(font_for(["car", "Straße"], 12), Whole) and [size for _, size in asked] == [12, 12, 12]
    assert type(font_for(["car"], 12)) is type(usual) and len(asked) == 3


def test_drawn_colours_are_brighter_and_differ():
    for labels in (CAMVID, CITYSCAPES):
        drawn = [drawn_colour(colour) for colour in labels.palette]
        assert len(set(drawn)) == len(set(labels.palette))
        assert all(sum(bright) > sum(dark) for bright, dark in zip(drawn, labels.palette))


def test_coco_annotations(result):
    road, car = result.coco_annotations(7, 100, [11, 22, 33])
    assert [(each["id"], each["image_id"], each["category_id"]) for each in (road, car)] == [(100, 7, 11), (101, 7, 22)]
    assert car["bbox"] == [20, 10, 30, 20] and car["area"] == 575 and "score" not in car
    for each, name in ((road, "road"), (car, "car")):
        drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(each["segmentation"], 60, 90)))
        assert (drawn.astype(bool) == result.mask(name)).all()


def test_save(result, tmp_path):
    paths = result.save(tmp_path / "a.b", "deep/a.b.jpg", json=True, legend=True, alpha=1.0, gray=True)
    assert [path.name for path in paths] == ["a.b_labels.png", "a.b_overlay.jpg", "a.b_coco.json"]
    with Image.open(paths[0]) as labels, Image.open(paths[1]) as overlay:
        assert labels.mode == "L" and (np.asarray(labels) == result.labels).all()
        assert overlay.height > 60
        assert np.abs(np.asarray(overlay)[50, 70].astype(int) - drawn_colour(PALETTE[0])).max() < 6
    content = json.loads(paths[2].read_text())
    (image,) = content["images"]
    assert image["file_name"] == "deep/a.b.jpg" and image["shares"] == result.shares()
    assert [each["name"] for each in content["categories"]] == [*CLASSES] and len(content["annotations"]) == 2
    with pytest.raises(ValueError, match="alpha.*1.*2"):
        result.save(tmp_path / "x", alpha=2)
    with pytest.raises(ValueError, match="'colour'"):
        result.save(tmp_path / "x", colour=2)


def test_save_makes_the_folder(result, tmp_path):
    assert all(path.is_file() for path in result.save(tmp_path / "a" / "b" / "street"))


def test_files_tell_whose_they_are(result, tmp_path):
    source = 'ö/a b;\n".png'
    paths = result.save(tmp_path / "x", source, json=True)
    assert all(is_result_of(path, source) and not is_result_of(path, "x.png") for path in paths)
    for path in result.save(tmp_path / "y"):
        assert source_of(path) == ""


@pytest.mark.parametrize("name", ["x_labels.png", "x_overlay.jpg", "x_coco.json"])
def test_a_foreign_file_is_never_replaced(name, result, tmp_path):
    """An annotation, or a result that somebody has edited: programs that draw keep no note of srzoo's."""
    result.save(tmp_path / "x", json=True)
    result.save(tmp_path / "x", json=True)  # its own are replaced
    path = tmp_path / name
    if name.endswith("json"):
        path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    else:
        picture = Image.open(path).copy()
        picture.info.clear()
        picture.save(path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    result.labels[:] = 1
    with pytest.raises(FileExistsError, match=name):
        result.save(tmp_path / "x", json=True)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileExistsError, match="folder"):
        refuse_foreign(tmp_path / "folder")
