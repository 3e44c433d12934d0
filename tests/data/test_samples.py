import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from srzoo.data.check import check_quickly, check_splits
from srzoo.data.formats import FORMATS, Format
from srzoo.data.masks import IdMap
from srzoo.data.opening import open_dataset
from srzoo.data.samples import FilePairs, ImageFiles
from srzoo.data.seeded import AugmentedDataset
from srzoo.labels import LabelSet
from srzoo.labels.street import CAMVID


@pytest.mark.parametrize(("rows", "width", "words"), [(7, 10, "one size"), (11, 7, "EXIF")])
def test_sizes_that_differ_are_named(tmp_path, write_image, write_mask, rows, width, words):
    pair = write_image(tmp_path / "a.jpg", 7, 11), write_mask(tmp_path / "a.png", [0] * rows, width)
    dataset = FilePairs("folder", "train", None, IdMap.identity(2), [pair])
    with pytest.raises(ValueError, match=rf"a.jpg is 11x7, .*a.png {width}x{rows}; .*{words}"):
        dataset[0]


def test_an_item_is_an_image_and_its_ids(tmp_path, write_image, write_mask):
    pair = write_image(tmp_path / "a.png"), write_mask(tmp_path / "m.png", [0, 1, 0, 1, 255, 1, 0])
    image, ids = FilePairs("folder", "train", None, IdMap.identity(2), [pair])[0]
    assert image.shape == (7, 11, 3)
    assert image.dtype == ids.dtype == np.uint8
    assert ids[:, 3].tolist() == [0, 1, 0, 1, 255, 1, 0]


def test_an_identity_is_of_classes_names_and_ids(small_camvid):
    """Checkpoints store its keys and values: a run must resume with a later version."""
    assert open_dataset(small_camvid, "train").identity() == {
        "classes": list(CAMVID.classes),
        "images": 2,
        "names_sha256": hashlib.sha256(b"crossing.png\nstreet.png").hexdigest(),
        "id_map": sorted([str(i), i if i < 11 else 255] for i in range(12)),
    }


def test_a_digest_is_of_the_masks_names_and_bytes(small_camvid):
    folder = small_camvid / "trainannot"
    content = b"".join(name + (folder / name.decode()).read_bytes() for name in (b"crossing.png", b"street.png"))
    dataset = open_dataset(small_camvid, "train")
    assert dataset.digest() == hashlib.sha256(content).hexdigest()
    assert dataset.facts() == {
        "dataset": "camvid",
        "split": "train",
        "images": 2,
        "split_sha256": dataset.digest(),
        "id_map": None,
    }


def test_a_name_that_is_no_utf_8_is_hashed_by_its_bytes(tmp_path, write_image, write_mask):
    """A training wrote no checkpoint, and an evaluation no receipt."""
    name = os.fsdecode(b"caf\xe9.png")
    try:
        pair = write_image(tmp_path / "a.png").rename(tmp_path / name), write_mask(tmp_path / "m.png", [0] * 7)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    (tmp_path / "masks").mkdir()
    data = FilePairs("folder", "train", None, IdMap.identity(2), [(pair[0], pair[1].rename(tmp_path / "masks" / name))])
    mask = (tmp_path / "masks" / name).read_bytes()
    assert data.digest() == hashlib.sha256(name.encode(errors="surrogateescape") + mask).hexdigest()
    assert data.identity()["names_sha256"] == hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()


def test_arguments_open_the_same_split(write_pairs):
    root = write_pairs([0, 1], [0, 1])
    dataset = open_dataset(root, "train", num_classes=2)
    assert dataset.arguments() == ["--data.format", "folder", "--data.root", "PATH", "--split", "train"]
    dataset = open_dataset(root, "train", id_map={0: 1, 1: 0})
    assert dataset.arguments("here")[3:] == ["here", "--data.id_map", "{0: 1, 1: 0}", "--split", "train"]
    assert dataset.facts()["id_map"] == "{0: 1, 1: 0}"


def test_files_are_all_that_must_not_be_overwritten(small_camvid):
    files = open_dataset(small_camvid, "val").files()
    assert files == [small_camvid / folder / "cyclist.png" for folder in ("val", "valannot")]


@dataclass
class Captions(ImageFiles):
    """A dataset without masks: a text for each image."""

    texts: dict[Path, str]

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return self.image(index), self.texts[self.image_file(index)]

    def image_file(self, index):
        return list(self.texts)[index]

    def target_name(self, index):
        return f"caption {index}"

    def target_bytes(self, index):
        return self.texts[self.image_file(index)].encode()


class CaptionFolder(Format):
    name = "captions"
    layout = "<split>/*.jpg"
    tasks = ("caption",)

    def matches(self, root):
        return False

    def read(self, root, split, task="semantic"):
        texts = {path: path.stem for path in sorted((root / split).glob("*.jpg"))}
        return Captions(self.name, split, LabelSet(("a", "b"), ((0, 0, 0), (9, 9, 9))), texts)


@pytest.fixture
def captions(tmp_path, write_image, monkeypatch):
    """Two splits of another task than semantic segmentation."""
    for name in ("train/a", "train/b", "val/c"):
        write_image(tmp_path / f"{name}.jpg")
    monkeypatch.setitem(FORMATS, "captions", CaptionFolder())
    return {split: open_dataset(tmp_path, split, "captions", 2, task="caption") for split in ("train", "val")}


def test_another_task_s_data_have_an_identity_a_digest_and_files(captions, tmp_path):
    data = captions["train"]
    assert data.identity() == {
        "classes": ["a", "b"],
        "images": 2,
        "names_sha256": hashlib.sha256(b"a.jpg\nb.jpg").hexdigest(),
    }
    assert data.digest() == hashlib.sha256(b"caption 0acaption 1b").hexdigest()
    assert (data.facts()["images"], data.facts()["id_map"]) == (2, None)
    assert data.arguments()[1] == "captions"
    assert data.files() == [tmp_path / "train" / "a.jpg", tmp_path / "train" / "b.jpg"]


def test_another_task_s_images_are_checked(captions, tmp_path):
    assert check_splits(captions, 2).errors == []
    check_quickly(captions, 2, str(tmp_path))
    (tmp_path / "train" / "b.jpg").write_bytes(b"")
    captions["val"].texts[tmp_path / "train" / "a.jpg"] = "a"
    report = check_splits(captions, 2)
    (error,), (warning,) = report.errors, report.warnings
    assert f"{tmp_path}/train/b.jpg" in error
    assert "1 image" in warning
    assert f"{tmp_path}/train/a.jpg" in warning
    with pytest.raises(ValueError, match=rf"b.jpg: .*`srzoo data check {tmp_path}`"):
        check_quickly(captions, 2, str(tmp_path))


def test_another_task_s_samples_are_augmented(captions):
    drawn = AugmentedDataset(captions["train"], lambda image, text: (image.shape, text, torch.rand(()).item()), seed=1)
    shape, text, number, index = drawn[3]
    assert (shape, text, index) == ((7, 11, 3), "b", 1)
    assert drawn[3][2] == number != drawn[1][2]


def test_an_id_map_is_for_masks(tmp_path, captions):
    with pytest.raises(ValueError, match="id map .*'caption'"):
        open_dataset(tmp_path, "train", "captions", id_map={0: 1}, task="caption")
