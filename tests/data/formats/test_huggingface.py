import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from srzoo.data.check import check_splits
from srzoo.data.formats.huggingface import from_dataset
from srzoo.data.masks import IdMap
from srzoo.data.opening import detect_format, open_dataset

datasets = pytest.importorskip("datasets")

IDS = np.arange(77, dtype=np.uint8).reshape(7, 11) % 3


def rows(count, mask_column="label"):
    noise = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    features = datasets.Features(
        {"image": datasets.Image(), mask_column: datasets.Image(), "scene": datasets.Value("string")}
    )
    columns = {
        "image": [Image.fromarray(noise)] * count,
        mask_column: [Image.fromarray(IDS)] * count,
        "scene": ["field"] * count,
    }
    return datasets.Dataset.from_dict(columns, features=features)


def test_a_dataset_in_memory():
    dataset = from_dataset(rows(2, "annotation"))
    assert dataset.columns == ("image", "annotation")
    assert (dataset.mask(1) == IDS).all()
    with pytest.raises(ValueError, match=r"image, pixel_values, .*mask, label, .*\['image', 'scene_mask'\]"):
        from_dataset(rows(1, "scene_mask"))
    assert from_dataset(rows(1, "scene_mask"), mask="scene_mask").columns == ("image", "scene_mask")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"bytes": b"not an image", "path": None}, "row 0 of train, column 'label': not an image file"),
        (None, "row 0 of train, column 'label': there is no image"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(mask, message):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    image = Image.fromarray(np.zeros((7, 11, 3), np.uint8))
    dataset = from_dataset(datasets.Dataset.from_dict({"image": [image], "label": [mask]}, features=features))
    with pytest.raises(ValueError, match=message):
        dataset.mask(0)


def test_a_row_whose_sizes_differ_is_named_once():
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    pictures = {"image": [Image.new("RGB", (11, 7))], "label": [Image.new("L", (10, 7))]}
    dataset = replace(from_dataset(datasets.Dataset.from_dict(pictures, features=features)), id_map=IdMap.identity(2))
    with pytest.raises(ValueError, match="^row 0 of train, column 'image' is 11x7, its mask in column 'label' 10x7;"):
        dataset[0]


def test_rows_are_judged_by_how_their_masks_are_stored():
    """As files are: JPEG bytes in a column, and palettes that differ from row to row."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    image = Image.fromarray(np.zeros((7, 11, 3), np.uint8))

    def judged(*masks):
        columns = {"image": [image] * len(masks), "label": list(masks)}
        data = from_dataset(datasets.Dataset.from_dict(columns, features=features))
        data.id_map = IdMap.identity(3)
        return check_splits({"train": data}, None).errors

    jpeg = io.BytesIO()
    Image.fromarray(IDS).save(jpeg, "JPEG")
    (error,) = judged({"bytes": jpeg.getvalue(), "path": None})
    assert "row 0 of train, column 'label': a mask as JPEG" in error
    red, green = (Image.fromarray(IDS) for _ in range(2))
    red.putpalette([0, 0, 0, 255, 0, 0, 9, 9, 9])
    green.putpalette([0, 0, 0, 0, 255, 0, 9, 9, 9])
    (error,) = judged(red, green)
    assert "the masks' palettes differ" in error


def test_a_folder_that_save_to_disk_wrote(tmp_path):
    datasets.DatasetDict({"train": rows(3), "validation": rows(1)}).save_to_disk(tmp_path / "data")
    dataset = open_dataset(tmp_path / "data", "val", num_classes=3)
    assert (dataset.format, len(dataset)) == ("huggingface", 1)
    image, ids = dataset[0]
    assert image.shape == (7, 11, 3)
    assert (ids == IDS).all()
    with pytest.raises(FileNotFoundError, match="no split 'test', only train, validation"):
        open_dataset(tmp_path / "data", "test")
    with pytest.raises(ValueError, match=r"row 0 of val, column 'label': id 2 "):
        open_dataset(tmp_path / "data", "val", num_classes=2)[0]


@pytest.mark.parametrize("wrapped", [lambda rows: rows, lambda rows: datasets.DatasetDict({"train": rows})])
def test_rows_without_a_split(tmp_path, wrapped):
    wrapped(rows(6)).save_to_disk(tmp_path / "data")
    with pytest.warns(UserWarning, match="1 of 6 images"):
        assert len(open_dataset(tmp_path / "data", "val")) == 1
    assert len(open_dataset(tmp_path / "data", "train")) == 5
    with pytest.raises(FileNotFoundError, match="no split 'test', only train"):
        open_dataset(tmp_path / "data", "test")


def test_without_the_package(tmp_path, monkeypatch):
    rows(2).save_to_disk(tmp_path / "data")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"'datasets': pip install 'srzoo\[data\]'"):
        open_dataset(tmp_path / "data", "train")


def test_a_row_that_is_too_large_is_named(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"row 0 of train, column 'label': more than 178,956,970 pixels"):
        from_dataset(rows(1)).mask(0)


def test_a_clone_of_a_dataset_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    (root / "data").mkdir(parents=True)
    for split, count in (("train", 3), ("validation", 1)):
        rows(count).to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    (root / "id2label.json").write_text('{"0": "ground", "1": "crack", "2": "hole"}')
    data = open_dataset(root, "val")
    assert (data.format, len(data), data.labels.classes) == ("huggingface", 1, ("ground", "crack", "hole"))
    assert (data.ids(0) == IDS).all()
    for path in (root / "data").iterdir():
        path.write_bytes(b"PAR1 no table")
    with pytest.raises(ValueError, match="set cannot be read by the package 'datasets'"):
        open_dataset(root, "train")


def test_tables_beside_the_files_of_another_layout(tmp_path, write_image):
    for i in range(4):
        write_image(tmp_path / "images" / f"{i}.png", 7, 11)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(IDS).save(tmp_path / "masks" / f"{i}.png")
    datasets.Dataset.from_dict({"x": [1]}).to_parquet(tmp_path / "index.parquet")
    assert detect_format(tmp_path) == "folder"


def test_a_saved_dataset_beside_a_table(tmp_path):
    rows(6).save_to_disk(tmp_path)
    datasets.Dataset.from_dict({"x": [1]}).to_parquet(tmp_path / "index.parquet")
    assert len(open_dataset(tmp_path, "train")) == 5


def test_tables_beside_pictures(tmp_path, monkeypatch, write_image):
    """The tables are read, of which there are fewer; those whose names tell no split are passed over."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set [1]"
    for i in range(6):
        write_image(root / f"figure{i}.png", 7, 11)
    for name, count in (("my-train-0", 3), ("my-train-1", 2), ("my-val", 1), ("extra", 1)):
        rows(count).to_parquet(root / f"{name}.parquet")
    assert detect_format(root) == "huggingface"
    assert [len(open_dataset(root, split)) for split in ("train", "val")] == [5, 1]
    for path in root.glob("my-*"):
        path.unlink()
    assert len(open_dataset(root, "train")) == 1
