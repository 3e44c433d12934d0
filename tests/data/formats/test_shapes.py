"""The readers of tools that draw shapes, on files as these tools write them."""

import base64
import io
import json
import re
import shutil
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from srzoo.data.check import check
from srzoo.data.conversion import convert
from srzoo.data.opening import detect_format, open_dataset
from srzoo.images import ImageError
from srzoo.messages import visible
from tests.hostile import assert_one_line, changed

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val", "default:left out of")
H, W = 20, 30
SQUARE = [[5, 5], [15, 5], [15, 15], [5, 15]]  # 10 x 10 pixels
DRAWN = np.pad(np.ones((10, 10), np.uint8), ((5, 5), (5, 15)))


def png(mask, mode="1"):
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8) * 255).convert(mode).save(file, "PNG")
    return file.getvalue()


def write_labelme(root, write_image):
    for name, other in (("a", []), ("b", [{"label": "cat", "points": [[0, 0], [4, 3]], "shape_type": "rectangle"}])):
        write_image(root / f"{name}.jpg", H, W)
        shapes = [{"label": "dog", "points": SQUARE, "group_id": None, "shape_type": "polygon", "flags": {}}, *other]
        content = {"version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None}
        (root / f"{name}.json").write_text(json.dumps({**content, "imageHeight": H, "imageWidth": W}))


def write_supervisely(root, write_image):
    classes = [
        {"title": name, "shape": "any", "color": colour} for name, colour in (("dog", "#0A0B0C"), ("cat", "#FF0000"))
    ]
    root.mkdir(exist_ok=True)
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": [], "projectType": "images"}))
    (root / "ds0" / "ann").mkdir(parents=True)
    bitmap = {"data": base64.b64encode(zlib.compress(png(np.ones((10, 10))))).decode(), "origin": [5, 5]}
    box = {"exterior": [[0, 0], [4, 3]], "interior": []}
    objects = {
        "a": [{"id": 1, "geometryType": "bitmap", "classTitle": "dog", "bitmap": bitmap, "points": None}],
        "b": [
            {"id": 2, "geometryType": "polygon", "classTitle": "dog", "points": {"exterior": SQUARE, "interior": []}},
            {"id": 3, "geometryType": "rectangle", "classTitle": "cat", "points": box},
        ],
    }
    for name, each in objects.items():
        write_image(root / "ds0" / "img" / f"{name}.jpg", H, W)
        content = {"description": "", "tags": [], "size": {"height": H, "width": W}, "objects": each}
        (root / "ds0" / "ann" / f"{name}.jpg.json").write_text(json.dumps(content))


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>t</name><labels>
<label><name>dog</name><color>#0a0b0c</color><type>any</type><attributes></attributes></label>
<label><name>cat</name><color>#ff0000</color><attributes></attributes></label></labels></task></meta>
<image id="0" name="a.jpg" width="30" height="20">
  <mask label="dog" source="manual" occluded="0"
    rle="0, 100" left="5" top="5" width="10" height="10" z_order="0"></mask>
</image>
<image id="1" name="sub/b.jpg" width="30" height="20">
  <polygon label="dog" source="manual" points="5.00,5.00;15.00,5.00;15.00,15.00;5.00,15.00" z_order="1"></polygon>
  <box label="cat" source="manual" xtl="0" ytl="0" xbr="4" ybr="3" z_order="0"><attribute name="x">1</attribute></box>
</image></annotations>"""


def write_cvat(root, write_image):
    for name in ("a.jpg", "sub/b.jpg"):
        write_image(root / "images" / name, H, W)
    (root / "annotations.xml").write_text(CVAT)


TRACKS = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>t</name><size>2</size><mode>interpolation</mode><labels>
<label><name>dog</name><color>#0a0b0c</color><attributes></attributes></label>
<label><name>cat</name><color>#ff0000</color><attributes></attributes></label></labels></task></meta>
<track id="0" label="dog" source="manual">
  <polygon frame="0" keyframe="1" outside="0" points="5.00,5.00;15.00,5.00;15.00,15.00;5.00,15.00" z_order="0"/>
  <polygon frame="1" keyframe="0" outside="0" points="5.00,5.00;15.00,5.00;15.00,15.00;5.00,15.00" z_order="1"/>
</track>
<track id="1" label="cat" source="manual">
  <box frame="0" outside="1" keyframe="1" xtl="0" ytl="0" xbr="4" ybr="3" z_order="0"></box>
  <box frame="1" outside="0" keyframe="1" xtl="0" ytl="0" xbr="4" ybr="3" z_order="0"></box>
</track></annotations>"""


def write_cvat_video(root, write_image):
    for number in (1, 2):  # as ffmpeg counts, unlike CVAT
        write_image(root / "images" / f"frame_{number:06d}.PNG", H, W)
    (root / "annotations.xml").write_text(TRACKS)


def brush(mask):
    """Label Studio's run lengths of a mask, as its converter writes them: here one literal run after another."""
    values = np.repeat(np.asarray(mask, np.uint8).ravel() * 255, 4)
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    i = 0
    while i < values.size:
        end = i + 1
        while end < values.size and values[end] == values[i] and end - i < 1 << 16:
            end += 1
        bits += f"1{3:02b}{end - i - 1:016b}{values[i]:08b}"
        i = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def write_label_studio(root, write_image):
    size = {"original_width": W, "original_height": H, "image_rotation": 0, "from_name": "label", "to_name": "image"}
    points = [[100 * x / W, 100 * y / H] for x, y in SQUARE]
    stroke = {"format": "rle", "rle": brush(DRAWN), "brushlabels": ["dog"]}
    box = {"x": 0, "y": 0, "width": 400 / W, "height": 300 / H, "rotation": 0, "rectanglelabels": ["cat"]}
    results = {
        "a": [{"id": "x", "type": "brushlabels", "value": stroke, **size}],
        "b": [
            {"id": "y", "type": "polygonlabels", "value": {"points": points, "polygonlabels": ["dog"]}, **size},
            {"id": "z", "type": "rectanglelabels", "value": box, **size},
            {
                "id": "k",
                "type": "keypointlabels",
                "value": {"x": 1, "y": 1, "width": 1, "keypointlabels": ["eye"]},
                **size,
            },
        ],
    }
    tasks = []
    for i, (name, each) in enumerate(results.items()):
        write_image(root / "images" / f"{name}.jpg", H, W)
        annotations = [
            {"id": i, "was_cancelled": True, "result": []},
            {"id": i, "was_cancelled": False, "result": each},
        ]
        tasks.append({"id": i, "annotations": annotations, "data": {"image": f"/data/upload/1/0a1b2c3d-{name}.jpg"}})
    (root / "project-1.json").write_text(json.dumps(tasks))


def write_via(root, write_image):
    x, y = zip(*SQUARE)
    polygon = {"name": "polygon", "all_points_x": x, "all_points_y": y}
    rect = {"name": "rect", "x": 0, "y": 0, "width": 4, "height": 3}

    def region(shape, name):
        return {"shape_attributes": shape, "region_attributes": {"class": name, "note": ""}}

    regions = {"a": {"0": region(polygon, "dog")}, "b": [region(polygon, {"dog": True}), region(rect, "cat")]}
    content = {}
    for name, each in regions.items():
        write_image(root / f"{name}.jpg", H, W)
        content[f"{name}.jpg123"] = {"filename": f"{name}.jpg", "size": 123, "regions": each, "file_attributes": {}}
    (root / "via_region_data.json").write_text(json.dumps(content))


def write_via_3(root, write_image):
    polygon, rect = [7, *(v for point in SQUARE for v in point)], [2, 0, 0, 4, 3]
    regions = {
        "1_a": {"vid": "1", "flg": 0, "z": [], "xy": polygon, "av": {"1": "0"}},
        "2_a": {"vid": "2", "flg": 0, "z": [], "xy": polygon, "av": {"1": "0", "2": "old"}},
        "2_b": {"vid": "2", "flg": 0, "z": [], "xy": rect, "av": {"1": "1"}},
    }
    files = {str(i): {"fid": str(i), "fname": f"{name}.jpg", "type": 2} for i, name in enumerate("ab", 1)}
    for file in files.values():
        write_image(root / file["fname"], H, W)
    content = {
        "project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "attribute": {
            "1": {"aname": "class", "type": 4, "options": {"0": "dog", "1": "cat"}},
            "2": {"aname": "note", "type": 1, "options": {}},
        },
        "file": files,
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
        "metadata": regions,
    }
    (root / "project.json").write_text(json.dumps(content))


def write_yolo(root, write_image):
    (root / "labels").mkdir(parents=True)
    (root / "data.yaml").write_text("train: images\nnames: [dog, cat]\n")
    polygon = "0 " + " ".join(f"{x / W} {y / H}" for x, y in SQUARE)
    for name, text in (("a", polygon), ("b", f"{polygon}\n1 {2 / W} {1.5 / H} {4 / W} {3 / H}\n")):
        write_image(root / "images" / f"{name}.jpg", H, W)
        (root / "labels" / f"{name}.txt").write_text(text)


def write_yolo_of_label_studio(root, write_image):
    write_yolo(root, write_image)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("dog\ncat\n")
    (root / "notes.json").write_text('{"categories": [{"id": 0, "name": "dog"}], "info": {}}')


WRITERS = {
    "labelme": write_labelme,
    "supervisely": write_supervisely,
    "cvat": write_cvat,
    "cvat video": write_cvat_video,
    "label_studio": write_label_studio,
    "via": write_via,
    "via 3": write_via_3,
    "yolo": write_yolo,
    "yolo of label studio": write_yolo_of_label_studio,
}


NAMES = {"yolo": "data.yaml", "yolo of label studio": "classes.txt"}  # the file of the classes


@pytest.fixture(params=WRITERS)
def tool(request):
    return request.param


@pytest.fixture
def root(tool, tmp_path, write_image):
    WRITERS[tool](tmp_path / "set", write_image)
    return tmp_path / "set"


def splits(root, **how):
    return [open_dataset(root, split, **how) for split in ("train", "val")]


def test_masks_are_drawn_in_order(root, tool):
    train, val = splits(root)
    assert (train.format, len(train), len(val)) == (tool.split()[0], 1, 1)
    assert set(train.labels.classes) == {"background", "dog", "cat"}
    dog, cat = (train.labels.classes.index(name) for name in ("dog", "cat"))
    image, ids = train[0]
    assert image.shape == (H, W, 3)
    assert np.array_equal(ids, DRAWN * dog)
    expected = DRAWN * dog
    expected[:3, :4] = cat
    assert np.array_equal(val.ids(0), expected)
    if tool in ("supervisely", "cvat", "cvat video"):
        assert train.labels.palette == ((0, 0, 0), (10, 11, 12), (255, 0, 0))


def test_objects_have_classes_boxes_and_masks(root, tool):
    train, val = splits(root, task="instance")
    assert set(train.labels.classes) == {"dog", "cat"}
    found = val.objects(0)
    assert found.size == (H, W)
    names = [train.labels.classes[i] for i in found.classes]
    boxes = dict(zip(names, found.boxes.tolist()))
    assert boxes == {"dog": [5, 5, 15, 15], "cat": [0, 0, 4, 3]}
    assert np.array_equal(train.objects(0).decode([0])[0], DRAWN)
    assert train.digest() != val.digest()


def test_the_check_tells_of_boxes(root, tool):
    report = check(root)
    assert report.errors == []
    assert any("1 of 3 shapes are boxes (cat)" in text for text in report.warnings)
    assert any("keypoint" in text for text in report.warnings) == (tool == "label_studio")


def test_folders_name_the_split(tool, tmp_path, write_image):
    for split in ("train", "val"):
        WRITERS[tool](tmp_path / split, write_image)
    if tool == "supervisely":
        (tmp_path / "meta.json").write_text((tmp_path / "train" / "meta.json").read_text())
    if tool.startswith("yolo"):
        (tmp_path / NAMES[tool]).write_text((tmp_path / "train" / NAMES[tool]).read_text())
    for data, split in zip(splits(tmp_path), ("train", "val")):
        assert len(data) == 2
        assert all(f"/{split}/" in name for name in data.image_names())


def test_a_test_split_without_val(tool, tmp_path, write_image):
    for split in ("train", "test"):
        WRITERS[tool](tmp_path / split, write_image)
    for name in ("meta.json", *NAMES.values()):
        if (tmp_path / "train" / name).exists():
            (tmp_path / name).write_text((tmp_path / "train" / name).read_text())
    assert [len(open_dataset(tmp_path, split)) for split in ("train", "val", "test")] == [1, 1, 2]


def test_a_bad_file_is_named_and_the_others_are_read(root, tool):
    if tool in ("supervisely", "labelme"):
        path = next(path for path in sorted(root.rglob("a*.json")))
        path.write_text('{"shapes": [')
    else:
        path = next(path for path in sorted(root.rglob("*1.PNG" if tool == "cvat video" else "a.jpg")))
        path.unlink()
    if tool.startswith("yolo"):
        return  # an image that is not there is not missed
    said = "frames with shapes have no image.*ffmpeg" if tool == "cvat video" else path.name
    with pytest.raises(FileNotFoundError, match=said):
        open_dataset(root, "train")
    if tool == "cvat video":
        return  # with a frame missing, it is not known whether they are counted from 0
    with pytest.warns(UserWarning, match=said):
        assert len(open_dataset(root, "train", skip_unusable=True)) == 1


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"points": SQUARE}, "no label"),
        ({"label": "dog", "points": [[1, 2]]}, "1 points, expected 3"),
        ({"label": "dog", "points": "x"}, "no pairs of numbers"),
        ({"label": "dog", "points": [[1e999, 0], [1, 1], [2, 2]]}, "finite|Infinity|inf"),
        ({"label": "dog", "points": [[900, 0], [1, 1], [2, 2]]}, "900"),
        ({"label": "dog", "points": [[0, 0], [9, 9]], "shape_type": "mask", "mask": "AAAA"}, "not an image"),
        (3, "no label"),
    ],
)
def test_a_bad_shape_is_named_by_file_and_number(tmp_path, write_image, shape, said):
    write_labelme(tmp_path, write_image)
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**content, "shapes": [shape]}))
    data = open_dataset(tmp_path, "train")
    with pytest.raises(ValueError, match=rf"a.json.*({said})"):
        data[0]
    errors = check(tmp_path, task="instance").errors
    assert any("a.json" in error for error in errors)


LEAKS = re.compile("object (has|is|cannot)|NoneType|argument|literal for|could not convert")
JSON = {"labelme": "a.json", "supervisely": "a.jpg.json", "via": "via_region_data.json", "label_studio": "*.json"}


def assert_read_or_told(root, task):
    """`check` ends, and what it tells are lines of srzoo, not those of Python's errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = check(root, task=task)
        lines = [*report.errors, *report.warnings]
    except (ValueError, OSError) as error:
        lines = [str(error)]
    for line in lines:
        assert_one_line(ValueError(visible(line)))
        assert not LEAKS.search(line.replace(str(root), "")), line


@pytest.mark.parametrize("tool", JSON)
@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_of_a_tool_is_read_or_told(tool, data, tmp_path, write_image):
    """A value of another type anywhere: the check tells it with the file, and goes on with the others."""
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    WRITERS[tool](root, write_image)
    path = next(path for path in sorted(root.rglob(JSON[tool])) if path.name != "meta.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(data.draw(changed(content, ("interior", "regions", "origin", "rotation", "mask")))))
    assert_read_or_told(root, data.draw(st.sampled_from(["semantic", "instance"])))


def test_a_class_that_no_model_file_could_hold_is_refused(tmp_path, write_image):
    write_labelme(tmp_path, write_image)
    content = json.loads((tmp_path / "a.json").read_text())
    names = {"\x1b[2Jdog": r"'\\x1b\[2Jdog'", "\u202egod": r"'\\u202egod'", "x" * 257: "x{50}", "": "''"}
    for name, shown in names.items():
        content["shapes"][0]["label"] = name
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=rf"{shown}.* 1 to 256 characters"):
            check(tmp_path)


def test_records_that_are_none_do_not_stop_the_others(tmp_path, write_image):
    write_via(tmp_path, write_image)
    path = tmp_path / "via_region_data.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"_via_img_metadata": {**content, "c.jpg1": 5}}))
    with pytest.warns(UserWarning, match="no image 5"):
        assert len(open_dataset(tmp_path, "train", skip_unusable=True)) > 0


def test_an_encoding_that_nobody_knows_is_told(tmp_path, write_image):
    write_cvat(tmp_path, write_image)
    (tmp_path / "annotations.xml").write_text(CVAT.replace("utf-8", "utf-inf"))
    with pytest.raises(FileNotFoundError, match="annotations.xml: unknown encoding"):
        open_dataset(tmp_path, "train")


def test_shapes_of_labelme(tmp_path, write_image):
    write_labelme(tmp_path, write_image)
    mask = base64.b64encode(png(np.ones((10, 10)))).decode()
    shapes = [
        {"label": "dog", "points": [[5, 5], [14, 14]], "shape_type": "mask", "mask": mask},
        {"label": "__ignore__", "points": [[20, 0], [30, 5]], "shape_type": "rectangle"},
        {"label": "cat", "points": [[22, 14], [22, 17]], "shape_type": "circle", "group_id": 7},
        {"label": "cat", "points": [[0, 0], [4, 0], [4, 3], [0, 3]], "group_id": 7},
        {"label": "way", "points": [[0, 0], [1, 1]], "shape_type": "line"},
    ]
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**content, "shapes": shapes}))
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\n")
    data = open_dataset(tmp_path, "train")
    assert data.labels.classes == ("background", "dog", "cat")
    ids = data.ids(0)
    assert np.array_equal(ids == 1, DRAWN.astype(bool))
    assert (ids[:5, 20:] == 255).all()
    assert (ids == 2).sum() == pytest.approx(12 + np.pi * 9, abs=4)
    found = open_dataset(tmp_path, "train", task="instance").objects(0)
    assert found.classes.tolist() == [0, 1]  # the cat's two parts are one
    assert any("1 line" in text for text in check(tmp_path).warnings)


def test_images_inside_the_files_of_labelme(tmp_path, write_image):
    root = tmp_path / "set"
    write_labelme(root, write_image)
    pixels = {}
    for name in "ab":
        image = root / f"{name}.jpg"
        pixels[name] = np.array(Image.open(image))
        content = json.loads((root / f"{name}.json").read_text())
        text = base64.b64encode(image.read_bytes()).decode()
        size = {"imageHeight": None, "imageWidth": None}  # of the image, then
        (root / f"{name}.json").write_text(json.dumps({**content, **size, "imageData": text}))
        image.unlink()
    data = open_dataset(root, "train")
    assert np.array_equal(data[0].image, pixels["a"])
    assert check(root).errors == []
    convert({"train": data}, tmp_path / "plain")
    assert np.array_equal(Image.open(tmp_path / "plain" / "images" / "train" / "a.jpeg"), pixels["a"])
    for text in ("????", "\ud800", "é", 3):
        (root / "a.json").write_text(json.dumps({**content, "imageData": text}))
        with pytest.raises(ImageError, match=r"a\.json"):
            open_dataset(root, "train").image(0)


def test_holes_of_supervisely(tmp_path, write_image):
    write_supervisely(tmp_path, write_image)
    path = tmp_path / "ds0" / "ann" / "a.jpg.json"
    points = {"exterior": SQUARE, "interior": [[[7, 7], [13, 7], [13, 13], [7, 13]]]}
    content = {**json.loads(path.read_text()), "objects": [{"classTitle": "dog", "points": points}]}
    path.write_text(json.dumps(content))
    assert (open_dataset(tmp_path, "train").ids(0) == 1).sum() == 100 - 36


def test_entities_in_xml_are_refused(tmp_path, write_image):
    write_cvat(tmp_path, write_image)
    text = CVAT.replace("<annotations>", '<!DOCTYPE x [<!ENTITY a "aaaa">]><annotations>', 1).replace(
        "<name>t<", "<name>&a;<"
    )
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(FileNotFoundError, match="annotations.xml: .*entity 'a'"):
        open_dataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('rle="0, 100"', 'rle="0, 999"', "999 pixels, expected 100"),
        ('width="10" height="10" z', 'width="1000000" height="1000000" z', "1000000x1000000"),
        ('rle="0, 100"', 'rle="x"', "'x', expected a number"),
        ('rle="0, 100"', 'rle="0.5, 100"', "'0.5', expected a whole number"),
        ('width="10" height="10" z', 'width="inf" height="10" z', "'inf', expected a number"),
        ('label="dog" source="manual" occ', 'source="manual" occ', "has no 'label'"),
    ],
)
def test_bad_masks_of_cvat(tmp_path, write_image, old, new, said):
    write_cvat(tmp_path, write_image)
    (tmp_path / "annotations.xml").write_text(CVAT.replace(old, new))
    with pytest.raises(ValueError, match=said):
        open_dataset(tmp_path, "train").ids(0)


def test_via_projects_and_csv(tmp_path, write_image):
    write_via(tmp_path, write_image)
    content = json.loads((tmp_path / "via_region_data.json").read_text())
    (tmp_path / "via_region_data.json").unlink()
    write_image(tmp_path / "c.jpg", H, W)
    content["c.jpg1"] = {"filename": "c.jpg", "size": 1, "regions": [], "file_attributes": {}}
    (tmp_path / "project.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": content}))
    assert sum(map(len, splits(tmp_path))) == 2  # c.jpg was not drawn on
    (tmp_path / "project.json").unlink()
    shape = json.dumps({"name": "rect", "x": 0, "y": 0, "width": 4, "height": 3}).replace('"', '""')
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    rows = "".join(f'{name}.jpg,1,"{{}}",1,0,"{shape}","{{""label"":""cat""}}"\n' for name in "ab")
    (tmp_path / "via.csv").write_text(head + rows)
    assert open_dataset(tmp_path, "train").labels.classes == ("background", "cat")


def test_json_min_of_label_studio(tmp_path, write_image):
    write_image(tmp_path / "a.jpg", H, W)
    write_image(tmp_path / "b.jpg", H, W)
    value = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["dog"], "original_width": W, "original_height": H}
    tasks = [
        {"image": f"/data/local-files/?d=x/{name}.jpg", "id": 1, "label": [value], "annotator": 1} for name in "ab"
    ]
    (tmp_path / "min.json").write_text(json.dumps(tasks))
    assert detect_format(tmp_path) == "label_studio"
    assert (open_dataset(tmp_path, "train").ids(0) == 1).sum() == pytest.approx(W * H / 8, rel=0.2)
