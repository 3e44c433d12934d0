"""Tables that name the files of each image and mask."""

import json

import pytest

from srzoo.data.check import check
from srzoo.data.opening import detect_format, open_dataset

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val", "default:left out of")


@pytest.fixture
def files(tmp_path, write_image, write_mask):
    """Four images and masks whose names say nothing."""
    for i in range(4):
        write_image(tmp_path / "photos" / f"DSC 0{i}.jpg", 3, 11)
        write_mask(tmp_path / "drawn" / f"q{7 * i + 1}.png", [0, 1, 2])
    return [(f"photos/DSC 0{i}.jpg", f"drawn/q{7 * i + 1}.png", "train" if i < 3 else "val") for i in range(4)]


def csv(rows):
    return {"index.csv": "image,mask,split\n" + "\n".join(map(",".join, rows))}


def windows(rows):
    lines = [f"{i};.\\{a};.\\{b};{split}".replace("/", "\\") for i, (a, b, split) in enumerate(rows)]
    return {"index.csv": "\ufeff" + "\r\n".join(["id;image_path;mask_path;split", *lines])}


def text(rows):
    lines = {split: [f"{a} {b}" for a, b, own in rows if own == split] for split in ("train", "val")}
    return {f"{split}.txt": "\n".join(each) for split, each in lines.items()}


def rows_of_json(rows):
    records = {"train": [], "val": []}
    for image, mask, split in rows:
        records[split].append(json.dumps({"file_name": f"../{image}", "mask_file_name": f"../{mask}"}))
    return {f"{split}/metadata.jsonl": "\n".join(each) for split, each in records.items()}


def monai(rows):
    lists = {
        key: [{"image": f"./{image}", "label": f"./{mask}"} for image, mask, own in rows if own == split]
        for key, split in (("training", "train"), ("validation", "val"))
    }
    return {"dataset.json": json.dumps({"labels": {"0": "ground", "1": "crack", "2": "hole"}, **lists})}


def absolute(rows):
    return {"list.csv": "\n".join(["img,annotation,subset", *(f"/data/me/{a},/data/me/{b},{c}" for a, b, c in rows)])}


@pytest.mark.parametrize("table", [csv, windows, text, rows_of_json, monai, absolute])
def test_tables(tmp_path, files, table):
    for name, content in table(files).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode())
    assert detect_format(tmp_path) == "listed"
    report = check(tmp_path)
    assert report.errors == []
    assert {split: facts.images for split, facts in report.splits.items()} == {"train": 3, "val": 1}
    data = open_dataset(tmp_path, "val")
    assert [path.name for path in data.files()] == ["DSC 03.jpg", "q22.png"]
    if table is monai:
        assert data.labels.classes == ("ground", "crack", "hole")


def test_rows_whose_files_do_not_exist_are_told(tmp_path, files):
    rows = [*files, ("photos/none.jpg", "drawn/none.png", "train")]
    (tmp_path / "index.csv").write_text(csv(rows)["index.csv"])
    assert any("index.csv: row 5: no file 'photos/none.jpg'" in error for error in check(tmp_path).errors)
    with pytest.warns(UserWarning, match="left out of train"):
        assert len(open_dataset(tmp_path, "train", skip_unusable=True)) == 3


def test_a_column_of_classes(tmp_path, write_image, write_mask):
    lines = ["MaskPath,ImageID,LabelName,BoxID"]
    for i in range(3):
        write_image(tmp_path / "images" / f"{i}abc.jpg", 3, 11)
        for label, row in (("/m/0k4j", [0, 255, 255]), ("/m/01g317", [0, 0, 255])):
            name = f"{i}abc_{label[3:]}_x{i}{len(lines)}.png"
            write_mask(tmp_path / "masks" / name, row)
            lines.append(f"{name},{i}abc,{label},x{i}")
    (tmp_path / "train-annotations-object-segmentation.csv").write_text("\n".join(lines))
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/0k4j,Car\n/m/01g317,Person\n")
    report = check(tmp_path)
    assert (report.format, report.errors, report.labels.classes) == ("listed", [], ("background", "Car", "Person"))
    assert open_dataset(tmp_path, "train").ids(0)[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content",
    [
        "name,r,g,b\nroad,1,2,3\n",
        "image,label\nphotos/DSC 00.jpg,cat\n",
        "image,mask\nelse/x.jpg,else/y.png\n",
        "",
        "\x00\xff",
    ],
)
def test_other_tables_are_passed_over(tmp_path, files, content):
    (tmp_path / "index.csv").write_text(content)
    with pytest.raises(ValueError, match="no known layout"):
        detect_format(tmp_path)
