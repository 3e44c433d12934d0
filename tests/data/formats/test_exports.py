"""The readers of the JSON of tools, on files as these tools write them."""

import base64
import json
import re
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srzoo.data.check import check
from srzoo.data.opening import detect_format, open_dataset
from tests.data.formats.test_shapes import DRAWN, SQUARE, H, W, assert_read_or_told, png
from tests.hostile import changed

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val", "default:left out of")

FLAT = [float(value) for point in SQUARE for value in point]
POINTS = [{"x": x, "y": y} for x, y in SQUARE]
RUNS = {"size": [H, W], "counts": []}  # of DRAWN, down the columns
RUNS["counts"] = [5 * H + 5, *([10, H - 10] * 9), 10, W * H - (14 * H + 15)]


def vott(name, label):
    asset = {"name": name, "path": f"file:/C:/x/{name}", "size": {"width": W, "height": H}}
    regions = [
        {"id": "r", "type": "POLYGON", "tags": [label], "points": POINTS},
        {"id": "p", "type": "POINT", "tags": [label], "points": POINTS[:1]},
    ]
    return {"asset": asset, "regions": regions, "version": "2.2.0"}


def labelbox(name, label):
    objects = [{"feature_id": "f", "name": label, "annotation_kind": "ImagePolygon", "polygon": POINTS}]
    labels = [{"annotations": {"objects": objects, "classifications": []}}]
    row = {"data_row": {"id": "i", "external_id": name}, "media_attributes": {"height": H, "width": W}}
    return {**row, "projects": {"p": {"labels": labels}}}


def darwin(name, label):
    slots = [{"type": "image", "slot_name": "0", "width": W, "height": H}]
    annotations = [
        {"id": "a", "name": label, "slot_names": ["0"], "polygon": {"paths": [POINTS]}},
        {"id": "t", "tag": {}},
    ]
    return {"version": "2.0", "item": {"name": name, "path": "/", "slots": slots}, "annotations": annotations}


def hasty(name, label):
    box = [5, 5, 15, 15]
    labels = [{"id": "l", "class_name": label, "bbox": box, "polygon": None, "mask": [0, 100], "z_index": 1}]
    return {"image_id": "u", "image_name": name, "dataset_name": "x", "width": W, "height": H, "labels": labels}


def superannotate(name, label):
    instances = [
        {"type": "polygon", "className": label, "points": FLAT, "groupId": 0},
        {"type": "point", "className": "x"},
    ]
    return {"metadata": {"name": name, "width": W, "height": H}, "instances": instances, "tags": [], "comments": []}


def dataloop(name, label):
    binary = f"data:image/png;base64,{base64.b64encode(png(DRAWN)).decode()}"
    annotation = {"id": "a", "type": "binary", "label": label, "coordinates": binary}
    if label == "dog":
        annotation = {"id": "a", "type": "segment", "label": label, "coordinates": [POINTS]}
    system = {"width": W, "height": H}
    return {"filename": f"/{name}", "metadata": {"system": system}, "annotations": [annotation]}


def datumaro(name, label):
    polygon = {"id": 1, "type": "polygon", "label_id": 0, "group": 1, "points": FLAT}
    mask = {"id": 2, "type": "mask", "label_id": 1, "group": 2, "rle": RUNS}
    image = {"path": name, "size": [H, W]}
    return {"id": name[0], "annotations": [polygon if label == "dog" else mask], "image": image}


def write(tool, root, write_image):
    """Two images, a square of a dog in a.jpg and one of a cat in b.jpg."""
    for name in ("a.jpg", "b.jpg"):
        write_image(root / "pictures" / name, H, W)
    each = [globals()[tool](name, label) for name, label in (("a.jpg", "dog"), ("b.jpg", "cat"))]
    names = [{"name": "dog", "color": "#0a0b0c"}, {"name": "cat", "color": "#ff0000"}]
    if tool == "vott":
        each = [{"name": "x", "tags": names, "assets": dict(zip("ab", each))}]
    elif tool == "hasty":
        classes = [{"class_name": name["name"], "color": f"{name['color']}80"} for name in names]
        each = [{"project_name": "x", "label_classes": classes, "images": each}]
    elif tool == "datumaro":
        each = [{"info": {}, "categories": {"label": {"labels": names}}, "items": each}]
    elif tool == "labelbox":
        (root / "export.ndjson").write_text("\n".join(map(json.dumps, each)))
        return
    elif tool == "superannotate":
        (root / "classes").mkdir()
        (root / "classes" / "classes.json").write_text(json.dumps(names))
    for i, content in enumerate(each):
        (root / f"{'ab'[i]}.jpg.json").write_text(json.dumps(content))


TOOLS = ("vott", "labelbox", "darwin", "hasty", "superannotate", "dataloop", "datumaro")
ORDERED = ("vott", "hasty", "superannotate", "datumaro")  # their files list the classes


@pytest.mark.parametrize("tool", TOOLS)
def test_tools(tmp_path, write_image, tool):
    write(tool, tmp_path, write_image)
    assert detect_format(tmp_path) == tool
    assert check(tmp_path).errors == []
    masks = {}
    for split in ("train", "val"):
        data = open_dataset(tmp_path, split)
        masks |= {data.image_name(i).rpartition("/")[2]: data.ids(i) for i in range(len(data))}
    names = ("background", "dog", "cat") if tool in ORDERED else ("background", "cat", "dog")
    assert data.labels.classes == names
    if tool in ("vott", "hasty", "superannotate"):
        assert data.labels.palette[1:] == ((10, 11, 12), (255, 0, 0))
    assert (masks["a.jpg"] == DRAWN * names.index("dog")).all()
    assert (masks["b.jpg"] == DRAWN * names.index("cat")).all()


@pytest.mark.parametrize("tool", TOOLS)
def test_objects_of_tools(tmp_path, write_image, tool):
    write(tool, tmp_path, write_image)
    report = check(tmp_path, task="instance")
    assert (report.errors, report.labels.classes) == ([], ("dog", "cat") if tool in ORDERED else ("cat", "dog"))
    assert sum(facts.objects.total() for facts in report.splits.values()) == 2


def test_rings_in_rings_are_holes(tmp_path, write_image):
    write("darwin", tmp_path, write_image)
    inner = [{"x": x, "y": y} for x, y in ([8, 8], [12, 8], [12, 12], [8, 12])]
    for name in ("a.jpg", "b.jpg"):
        content = darwin(name, "dog")
        content["annotations"][0]["polygon"]["paths"].append(inner)
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert (open_dataset(tmp_path, "train").ids(0) > 0).sum() == 100 - 16


def test_masks_at_addresses_are_told(tmp_path, write_image):
    write("labelbox", tmp_path, write_image)
    row = labelbox("a.jpg", "dog")
    shape = row["projects"]["p"]["labels"][0]["annotations"]["objects"][0]
    del shape["polygon"]
    shape["mask"] = {"url": "https://x.example/a.png"}
    (tmp_path / "export.ndjson").write_text(f"{json.dumps(row)}\n{json.dumps(labelbox('b.jpg', 'cat'))}")
    errors = check(tmp_path).errors
    assert any(re.search("a.jpg.*'dog'.*address.*export polygons", error) for error in errors)


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_of_a_tool_is_read_or_told(tool, data, tmp_path, write_image):
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    write(tool, root, write_image)
    path = next(root.glob("*json"))
    content = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(data.draw(changed(content, ("regions", "tags", "mask", "rle")))))
    assert_read_or_told(root, data.draw(st.sampled_from(["semantic", "instance"])))


def test_datumaro_counts_classes_by_their_place(tmp_path, write_image):
    """Also where names are empty or repeated, and with blanks around them; other numbers are errors."""
    write("datumaro", tmp_path, write_image)
    content = json.loads((tmp_path / "a.jpg.json").read_text())
    first, second = (each["annotations"][0] for each in content["items"])

    def names_read(labels, *ids):
        content["categories"]["label"]["labels"] = [{"name": name} for name in labels]
        first["label_id"], second["label_id"] = ids
        (tmp_path / "a.jpg.json").write_text(json.dumps(content))
        report = check(tmp_path, task="instance")
        found = open_dataset(tmp_path, "train", task="instance", holdout="fifth").annotations
        found += open_dataset(tmp_path, "val", task="instance", holdout="fifth").annotations
        return [shape.label for each in sorted(found, key=str) for shape in each.shapes], report

    assert names_read(["left", "left", "nose", "hair"], 2, 3)[0] == ["nose", "hair"]
    assert names_read(["a", "", "b", "c"], 2, 3)[0] == ["b", "c"]
    names, report = names_read(["car ", "dog"], 0, 1)
    assert (names, report.labels.classes) == (["car", "dog"], ("car", "dog"))
    for bad in (-1, 2, True, "0", 1.0):
        names, report = names_read(["a", "b"], bad, 1)
        assert names == ["b"]
        assert any(re.search(f"label_id {bad!r}.* 0 to 1", error) for error in report.errors)


def test_the_first_label_of_each_project_of_labelbox_is_read(tmp_path, write_image):
    write("labelbox", tmp_path, write_image)
    row, other = labelbox("a.jpg", "dog"), labelbox("a.jpg", "cat")["projects"]["p"]
    row["projects"] |= {"q": other, "empty": {"labels": []}}
    lines = [row, labelbox("b.jpg", "cat")]
    (tmp_path / "export.ndjson").write_text("\n".join(map(json.dumps, lines)))
    report = check(tmp_path, task="instance")
    assert sum(facts.objects.total() for facts in report.splits.values()) == 3
    assert not any("several labels" in line for line in report.warnings)
    row["projects"]["q"]["labels"] *= 2
    (tmp_path / "export.ndjson").write_text("\n".join(map(json.dumps, lines)))
    report = check(tmp_path, task="instance")
    assert sum(facts.objects.total() for facts in report.splits.values()) == 3
    assert any(re.search("1 images have several labels.*: a.jpg", line) for line in report.warnings)


@pytest.mark.parametrize("tool", ["superannotate", "dataloop", "datumaro"])
def test_images_without_shapes_are_read(tmp_path, write_image, tool):
    """Also if they are the first, whose files alone do not tell the tool."""
    write(tool, tmp_path, write_image)
    for i in range(6):
        write_image(tmp_path / "pictures" / f"A{i}.jpg", H, W)
        content = globals()[tool](f"A{i}.jpg", "dog")
        content["instances" if tool == "superannotate" else "annotations"] = []
        if tool == "datumaro":
            content = {"info": {}, "categories": {"label": {"labels": []}}, "items": [content]}
        (tmp_path / f"A{i}.jpg.json").write_text(json.dumps(content))
    assert detect_format(tmp_path) == tool
    report = check(tmp_path)
    assert (report.errors, sum(facts.images for facts in report.splits.values())) == ([], 8)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_long_name_of_an_image_is_told(tmp_path, write_image, tool):
    write(tool, tmp_path, write_image)
    path = min(tmp_path.glob("*json"))
    path.write_text(path.read_text().replace("a.jpg", f"{'a' * 300}.jpg"))
    assert any(re.search("no image '/?aaa", error) for error in check(tmp_path).errors)


def test_an_image_in_two_files_of_vott_is_read_once(tmp_path, write_image):
    write("vott", tmp_path, write_image)
    (tmp_path / "vott-json-export").mkdir()
    (tmp_path / "a.jpg.json").rename(tmp_path / "vott-json-export" / "x-export.json")
    (tmp_path / "1-asset.json").write_text(json.dumps(vott("a.jpg", "dog")))
    report = check(tmp_path)
    assert (report.errors, sum(facts.images for facts in report.splits.values())) == ([], 2)
    assert report.labels.palette[1:] == ((10, 11, 12), (255, 0, 0))
    assert any(re.search("1 images are in several files.*a.jpg", line) for line in report.warnings)


def test_shapes_go_to_worker_processes(tmp_path, write_image):
    for tool in ("hasty", "datumaro", "dataloop"):
        write(tool, tmp_path / tool, write_image)
        assert check(tmp_path / tool, workers=1).errors == []
