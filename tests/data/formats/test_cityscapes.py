import pytest

from srzoo.data.opening import open_dataset

# The benchmark's ids of its nineteen classes, in order (cityscapesScripts, labels.py).
EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.fixture
def root(tmp_path, write_image, write_mask):
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
        stem = f"{city}_000000_000019"
        write_image(tmp_path / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", 34)
        write_mask(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", range(34))
        write_mask(tmp_path / "gtFine" / split / city / f"{stem}_gtFine_instanceIds.png", range(34), dtype="uint16")
    return tmp_path


def test_the_nineteen_classes(root):
    dataset = open_dataset(root, "train")
    assert (dataset.format, len(dataset)) == ("cityscapes", 2)
    assert [image.name[:6] for image, _ in dataset.pairs] == ["aachen", "bochum"]
    image, ids = dataset[1]
    assert image.shape == (34, 11, 3)
    assert ids[:, 0].tolist() == [EVALUATED.index(i) if i in EVALUATED else 255 for i in range(34)]


def test_hidden_files_are_passed_over(root):
    for folder in ("leftImg8bit/train", "leftImg8bit/train/aachen", "gtFine/train"):
        (root / folder / ".DS_Store").write_bytes(b"junk")
    (root / "leftImg8bit/train/aachen/._aachen_000000_000019_leftImg8bit.png").write_bytes(b"junk")
    assert len(open_dataset(root, "train")) == 2


def test_what_is_missing(root):
    with pytest.raises(FileNotFoundError, match="no folders leftImg8bit/test and gtFine/test"):
        open_dataset(root, "test")
    next((root / "gtFine" / "val" / "lindau").glob("*labelIds.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"lindau_000000_000019_leftImg8bit.png has no mask"):
        open_dataset(root, "val")
    next((root / "leftImg8bit" / "train" / "bochum").iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match=r"bochum_000000_000019_gtFine_labelIds.png has no image"):
        open_dataset(root, "train")
