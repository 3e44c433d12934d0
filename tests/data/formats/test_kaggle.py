"""Tables of run lengths, as in Kaggle's competitions."""

import numpy as np
import pytest

from srzoo.data.check import check
from srzoo.data.opening import detect_format, open_dataset

pytestmark = pytest.mark.filterwarnings("default:.*has no split for val", "default:left out of")
MASKS = {"crack": np.zeros((20, 30), np.uint8), "hole": np.zeros((20, 30), np.uint8)}
MASKS["crack"][5:15, 5:12] = 1
MASKS["hole"][3:9, 20:28] = 1


def runs(mask, by_rows=False):
    """Starts and lengths, counted from 1."""
    bits = np.concatenate([[0], (mask if by_rows else mask.T).ravel().astype(int), [0]])
    ends = np.flatnonzero(np.diff(bits)) + 1
    ends[1::2] -= ends[::2]
    return " ".join(map(str, ends))


def write(root, rows, write_image, size=(20, 30)):
    for name in "ab":
        write_image(root / "train_images" / f"{name}.jpg", *size)
    (root / "train.csv").write_text("\n".join(rows) + "\n")


def table(by_rows=False):
    cells = [(i, name, runs(mask, by_rows)) for i in "ab" for name, mask in MASKS.items()]
    return {
        "class": ["ImageId,ClassId,EncodedPixels", *(f"{i}.jpg,{name},{text}" for i, name, text in cells)],
        "joined": ["Image_Label,EncodedPixels", *(f"{i}.jpg_{name},{text}" for i, name, text in cells)],
        "no suffix": ["id,annotation,width,height,cell_type", *(f"{i},{text},30,20,{name}" for i, name, text in cells)],
    }


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("kind", ["class", "joined", "no suffix"])
def test_both_directions_are_told(tmp_path, write_image, kind, by_rows):
    write(tmp_path, table(by_rows)[kind], write_image)
    (tmp_path / "sample_submission.csv").write_text("ImageId,EncodedPixels\nx.jpg,1 1\n")
    data = open_dataset(tmp_path, "train")
    assert (data.format, data.labels.classes) == ("kaggle", ("background", "crack", "hole"))
    assert np.array_equal(data.ids(0), MASKS["crack"] + 2 * MASKS["hole"])
    assert open_dataset(tmp_path, "train", task="instance").objects(0).classes.tolist() == [0, 1]
    assert not check(tmp_path).errors + check(tmp_path).warnings


def test_square_images_do_not_tell(tmp_path, write_image):
    mask = np.zeros((30, 30), np.uint8)
    mask[2:8, 5:25] = 1
    write(tmp_path, ["ImageId,EncodedPixels", f"a.jpg,{runs(mask)}", "b.jpg,"], write_image, (30, 30))
    data = open_dataset(tmp_path, "train", holdout="fifth")  # a.jpg is held out
    assert data.labels.classes == ("background", "object")
    assert not data.ids(0).any()
    assert any("--data.format kaggle_rows" in doubt for doubt in check(tmp_path).warnings)
    assert np.array_equal(open_dataset(tmp_path, "val", holdout="fifth").ids(0), mask)
    rows = open_dataset(tmp_path, "val", format="kaggle_rows", holdout="fifth")
    assert np.array_equal(rows.ids(0), mask.T)
    assert not check(tmp_path, format="kaggle_rows").warnings[1:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3", "no pairs of start and length"),
        ("1 x", "no pairs"),
        ("1 5 3 2", "overlap"),
        ("590 50", "pixels, expected 600"),
        ("1 9999999999", "no pairs"),
    ],
)
def test_bad_runs_are_named_by_line(tmp_path, write_image, text, said):
    write(tmp_path, ["ImageId,EncodedPixels", f"a.jpg,{text}", "b.jpg,1 2"], write_image)
    errors = check(tmp_path).errors
    assert any(said in error and "train.csv" in error for error in errors), errors


def test_what_is_left_out_is_told(tmp_path, write_image):
    write(tmp_path, ["ImageId,EncodedPixels", f"a.jpg,{runs(MASKS['hole'])}", "c.jpg,1 2"], write_image)
    report = check(tmp_path)
    assert any("line 3: no image 'c.jpg'" in error for error in report.errors)
    assert any("1 images have no row" in warning for warning in report.warnings)


def test_masks_beside_the_table_are_read_instead(tmp_path, write_image, write_mask):
    for name in "ab":
        write_image(tmp_path / "images" / f"{name}.png")
        write_mask(tmp_path / "masks" / f"{name}.png", [0, 1])
    (tmp_path / "labels.csv").write_text("ImageId,EncodedPixels\na.png,1 2\nb.png,1 2\n")
    assert detect_format(tmp_path) == "folder"
    assert open_dataset(tmp_path, "train").labels is None  # the table names no classes
