import numpy as np
from PIL import Image

from srzoo.labels.street import CAMVID, CITYSCAPES
from srzoo.tasks.semantic.submission import official_ids, write_submission


def test_cityscapes_server_ids(tmp_path):
    """The 19 label ids in labels.py of cityscapesScripts, in order of train id."""
    ids = official_ids(CITYSCAPES.classes)
    assert ids.tolist() == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    labels = np.array([[0, 18, 13]], dtype=np.uint8)
    write_submission(labels, ids, tmp_path / "berlin_000000_000019_leftImg8bit.png")
    with Image.open(tmp_path / "berlin_000000_000019_leftImg8bit.png") as image:
        assert image.mode == "L" and image.info["Software"].startswith("srzoo ")
        assert np.asarray(image).tolist() == [[7, 33, 26]]


def test_other_classes_keep_their_order():
    assert official_ids(CAMVID.classes).tolist() == list(range(11))


def test_files_have_the_ids_of_the_data():
    """Where its classes are in another order than the model's."""
    assert official_ids(("sky", "tree", "car"), new_ids=(1, 2, 0)).tolist() == [2, 0, 1]
    assert official_ids(CITYSCAPES.classes[::-1], tuple(range(18, -1, -1))).tolist()[:2] == [33, 32]
