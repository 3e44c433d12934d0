import shutil

import numpy as np
import pytest
from PIL import Image

from srzoo.data.opening import open_dataset
from srzoo.evaluate.overwriting import refuse_to_overwrite
from srzoo.tasks.semantic.submission import write_submission


@pytest.fixture
def val(small_camvid):
    """The split for validation, and the folder of all."""
    return open_dataset(small_camvid, "val"), small_camvid


def prediction(path):
    write_submission(np.zeros((360, 480), np.uint8), np.arange(11, dtype=np.uint8), path)
    return path


def test_earlier_results_are_replaced_and_other_files_are_not(val, tmp_path):
    data, _ = val
    earlier, foreign = prediction(tmp_path / "a.png"), tmp_path / "b.png"
    refuse_to_overwrite(data, "semantic", [earlier, foreign], "--export")
    Image.new("L", (480, 360)).save(foreign)
    with pytest.raises(FileExistsError, match=r"b\.png "):
        refuse_to_overwrite(data, "semantic", [earlier, foreign], "--export")


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_of_any_split_are_kept_although_they_are_results(split, val):
    """A model's predictions may be corrected, or taken as they are, to train the next one."""
    data, root = val
    shutil.copy(root / "val" / "cyclist.png", root / "train")
    pseudo = prediction(root / f"{split}annot" / "cyclist.png")
    prediction(root / "trainannot" / "cyclist.png")
    with pytest.raises(ValueError, match=rf"{split}annot/cyclist\.png .*dataset.* --confusion "):
        refuse_to_overwrite(data, "semantic", [pseudo], "--confusion")


def test_a_broken_split_hinders_no_other(val, tmp_path):
    data, root = val
    shutil.rmtree(root / "trainannot")
    refuse_to_overwrite(data, "semantic", [prediction(tmp_path / "a.png")], "--export")


def test_a_link_to_a_file_of_the_dataset_is_kept(val, tmp_path):
    data, root = val
    (tmp_path / "link.png").symlink_to(root / "val" / "cyclist.png")
    with pytest.raises(ValueError, match=r"val/cyclist\.png "):
        refuse_to_overwrite(data, "semantic", [tmp_path / "link.png"], "--export")
