import numpy as np
import pytest

from srzoo.data.opening import open_dataset
from srzoo.labels import IGNORE
from srzoo.labels.street import CAMVID


def test_pairs_in_the_true_layout(small_camvid):
    dataset = open_dataset(small_camvid, "train")
    image, ids = dataset[0]
    assert (dataset.format, dataset.split, len(dataset)) == ("camvid", "train", 2)
    assert dataset.labels == CAMVID
    assert image.shape == (360, 480, 3)
    assert image.dtype == ids.dtype == np.uint8
    assert set(np.unique(ids)) <= {*range(11), IGNORE}
    assert IGNORE in ids


def test_whole_dataset(camvid):
    assert [len(open_dataset(camvid, split)) for split in ("train", "val")] == [367, 101]


def test_missing_folder_and_annotation(small_camvid):
    with pytest.raises(FileNotFoundError, match=r"camvid/test"):
        open_dataset(small_camvid, "test")
    (small_camvid / "trainannot" / "street.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"street.png .* mask; `srzoo data check .*camvid`"):
        open_dataset(small_camvid, "train")
