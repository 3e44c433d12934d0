import pickle

import numpy as np
import pytest

from srzoo.data.objects import Examined, Objects, areas_of, examined, found_in
from srzoo.data.rle import encode


@pytest.mark.parametrize("shape", [(1, 1), (7, 11), (1, 9), (9, 1), (33, 47)])
def test_objects_in_a_map_of_ids(shape):
    ids = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint16) * 7
    kinds = {value: (value // 7, value == 14) for value in areas_of(ids) if value}
    objects = Objects.of(shape, found_in(ids, kinds))
    assert (objects.size, objects.ids, len(objects)) == (shape, list(kinds), len(kinds))
    masks = objects.decode(range(len(objects)))
    assert masks.shape == (len(kinds), *shape)
    for i, value in enumerate(kinds):
        rows, columns = np.nonzero(ids == value)
        assert (masks[i] == (ids == value)).all()
        assert objects.masks[i] == encode(ids == value)
        assert objects.boxes[i].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (objects.classes[i], objects.crowd[i], objects.areas[i]) == (value // 7, value == 14, len(rows))


def test_areas_are_counted():
    ids = np.array([[3, 3, 0], [0, 70000, 3]])
    assert areas_of(ids) == {0: 2, 3: 3, 70000: 1}
    assert areas_of(ids.T) == areas_of(ids)


def test_no_objects():
    objects = Objects.of((7, 11), [])
    assert (objects.boxes.shape, objects.boxes.dtype) == ((0, 4), np.float32)
    assert (objects.classes.dtype, objects.crowd.dtype, objects.areas.dtype) == (np.int64, bool, np.float64)
    assert objects.decode([]).shape == (0, 7, 11)


def test_some_of_the_masks():
    ids = np.array([[1, 2], [3, 3]])
    objects = Objects.of((2, 2), found_in(ids, dict.fromkeys((1, 2, 3), (0, False))))
    assert objects.decode([2, 0]).tolist() == [[[0, 0], [1, 1]], [[1, 0], [0, 0]]]
    assert objects.decode(np.array([1])).dtype == np.uint8


def test_objects_can_be_sent_to_another_process():
    objects = Objects.of((1, 2), found_in(np.array([[1, 0]]), {1: (0, False)}))
    assert pickle.loads(pickle.dumps(objects)).decode([0]).tolist() == [[[1, 0]]]


def test_an_examination_that_fails_keeps_the_first_line():
    def read(index):
        raise ValueError(f"image {index}\nmore")

    found = examined(read, 4)
    assert found == (None, ["image 4"], [])
    with pytest.raises(ValueError, match="^a, and 1 more$"):
        Examined(3, ["a", "b"], []).checked()
    assert Examined(3, [], ["passed over"]).checked() == 3


def test_the_types_import_no_torch(run_python):
    result = run_python(
        "-c", "import sys, srzoo.data.objects, srzoo.data.object_check; assert 'torch' not in sys.modules"
    )
    assert result.returncode == 0, result.stderr
