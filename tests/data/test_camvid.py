import numpy as np
import pytest

from srzoo.data.camvid import CamVid
from srzoo.data.labels import IGNORE


def test_pairs_in_the_true_layout(small_camvid):
    dataset = CamVid(small_camvid, "train")
    image, ids = dataset[0]
    assert len(dataset) == 2
    assert image.shape == (360, 480, 3)
    assert image.dtype == ids.dtype == np.uint8
    assert set(np.unique(ids)) <= {*range(11), IGNORE}
    assert IGNORE in ids


def test_whole_data_set(camvid):
    assert [len(CamVid(camvid, split)) for split in ("train", "val")] == [367, 101]


def test_missing_folder_and_annotation(small_camvid):
    with pytest.raises(FileNotFoundError, match=r"no folder .*test: expected test/ and testannot/"):
        CamVid(small_camvid, "test")
    (small_camvid / "trainannot" / "street.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images .* the first is street.png"):
        CamVid(small_camvid, "train")
