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


def test_rows_that_are_no_pair_are_told_and_the_rest_is_read(tmp_path, files):
    lines = [f"{a} {b}" for a, b, _ in files]
    lines[1] = files[1][0]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    data = open_dataset(tmp_path, "train", skip_unusable=True)
    assert len(data) == 2  # and one is held out
    said = "train.txt: row 2: 'photos/DSC 01.jpg' is not an image and a mask"
    assert any(said in each for each in check(tmp_path).errors)


def test_the_first_row_may_lack_its_mask(tmp_path, files):
    rows = [(files[0][0], "", "train"), *files[1:], (files[0][0], "", "test")]
    (tmp_path / "index.csv").write_text(csv(rows)["index.csv"])
    report = check(tmp_path)
    assert report.format == "listed"
    assert {each.partition("index.csv: ")[2] for each in report.errors} == {"row 1: has no mask"}


@pytest.mark.parametrize("other", ["depth", "edges", "thumbnail"])
def test_the_column_of_the_image(tmp_path, files, write_image, other):
    lines = [f"{other},image,mask"]
    for i, (image, mask, _) in enumerate(files):
        write_image(tmp_path / "other" / f"{i}o.png", 3, 11)
        lines.append(f"other/{i}o.png,{image},{mask}")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    names = {path.name for path in open_dataset(tmp_path, "train").files()}
    assert names & {f"DSC 0{i}.jpg" for i in range(4)} and not names & {f"{i}o.png" for i in range(4)}


def test_a_numbered_table_of_pandas(tmp_path, write_image, write_mask):
    lines = ["\timage\tmask"]
    for i in range(3):
        write_image(tmp_path / "a" / f"{i}.png", 3, 11)
        write_mask(tmp_path / "b" / f"{i}.png", [0, 1, 2])
        lines.append(f"{i}\ta/{i}.png\tb/{i}.png")
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    assert detect_format(tmp_path) == "listed"
    assert {path.parent.name for path in open_dataset(tmp_path, "train").files()[::2]} == {"a"}


def test_a_table_of_both_splits_beside_those_of_each(tmp_path, files):
    for name, own in (("train", files[:3]), ("val", files[3:]), ("trainval", files)):
        (tmp_path / f"{name}.csv").write_text("image,mask\n" + "\n".join(f"{a},{b}" for a, b, _ in own))
    assert {split: facts.images for split, facts in check(tmp_path).splits.items()} == {"train": 3, "val": 1}


def test_a_gap_in_the_column_of_classes_is_told(tmp_path, write_image, write_mask):
    lines = ["image,mask,class"]
    for i in range(3):
        write_image(tmp_path / "photos" / f"{i}.jpg", 3, 11)
        for label in ("car", "tree"):
            write_mask(tmp_path / "drawn" / f"q{i}{label}.png", [0, 255, 255])
            lines.append(f"photos/{i}.jpg,drawn/q{i}{label}.png,{label if i or label == 'car' else ''}")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    errors = check(tmp_path).errors
    assert any("1 rows have no class" in each for each in errors)
    assert len({each for each in errors if "is listed 2 times" in each}) == 3


def test_names_that_no_file_can_have(tmp_path, files):
    rows = [*files, ("x" * 300 + ".jpg", files[0][1], "train")]
    (tmp_path / "index.csv").write_text(csv(rows)["index.csv"])
    assert any("row 5: no file" in each for each in check(tmp_path).errors)


def test_a_broken_line_is_told(tmp_path, files):
    lines = [json.dumps({"image": image, "mask": mask}) for image, mask, _ in files for _ in range(6)]
    (tmp_path / "train.jsonl").write_text("\n".join([*lines[::6], *lines[::6] * 4, "{image"]))
    assert any("train.jsonl: row 21 and what follows cannot be read" in each for each in check(tmp_path).errors)
