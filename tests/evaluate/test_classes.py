"""The classes of a dataset, found by their names in a model."""

import numpy as np
import pytest
from PIL import Image

import srzoo
from srzoo.data.opening import open_dataset
from srzoo.evaluate.classes import in_order_of_model
from srzoo.labels import LabelSet

pytestmark = pytest.mark.filterwarnings("ignore:.*images are held out")
SKY, TREE, ROAD = (1, 2, 3), (4, 5, 6), (7, 8, 9)
LABELS = LabelSet(("sky", "tree", "road"), (SKY, TREE, ROAD))


@pytest.fixture
def named(write_pairs):
    """Open a dataset of images whose rows have the ids 0, 1, 2 and void; the classes have the given names."""

    def open(*names):
        root = write_pairs(*[[0] * 10 + [1] * 10 + [2] * 10 + [255] * 10] * 2)
        (root / "classes.txt").write_text("\n".join(names))
        return open_dataset(root, "val", holdout=0.5)

    return open


def rows(data):
    """The id in the middle of each ten rows of an image."""
    return data[0].ids[5::10, 0].tolist()


def test_ids_follow_the_names(named):
    data = named("road", "sky", "tree")
    found = in_order_of_model(data, LABELS)
    assert found.labels.classes == LABELS.classes
    assert rows(found) == [2, 0, 1, 255] and rows(data) == [0, 1, 2, 255]
    assert found.digest() == data.digest()
    again = found.renumbered((2, 0, 1))
    assert again.labels.classes == ("road", "sky", "tree") and rows(again) == [0, 1, 2, 255]
    assert in_order_of_model(data, data.labels) is data


def test_other_names_are_compared_by_their_ids(named):
    data = named("Himmel", "Baum", "road")
    with pytest.warns(UserWarning, match="'Himmel' in the data .*'sky' in the model"):
        assert in_order_of_model(data, LABELS) is data


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("tree", "sky", "car"), "'tree' has the id 0 in the data and 1 .*'car' .*sky, tree, road"),
        (("sky", "tree"), "2 classes, .* 3"),
    ],
)
def test_names_under_other_ids_are_refused(write_pairs, names, message):
    root = write_pairs([0] * 40, [1] * 40)
    (root / "classes.txt").write_text("\n".join(names))
    with pytest.raises(ValueError, match=message) as raised:
        in_order_of_model(open_dataset(root, "val", holdout=0.5), LABELS)
    assert "\n" not in str(raised.value)


def test_figures_of_classes_in_another_order_are_the_same(write_pairs):
    root = write_pairs([0] * 20 + [1] * 20, [1] * 30 + [0] * 10)
    model = srzoo.create_model("srnet", backbone="test_efficientnet", classes=["sky", "tree"]).eval()
    figures = []
    for names in (("sky", "tree"), ("tree", "sky")):
        (root / "classes.txt").write_text("\n".join(names))
        by_class = srzoo.evaluate(model, root, reading={"holdout": 0.9}, progress=False).by_class["IoU"]
        figures.append([by_class[name] for name in names])
        for mask in (root / "masks").iterdir():
            Image.fromarray(1 - np.array(Image.open(mask))).save(mask)
    assert figures[0] == figures[1][::-1] and len({*figures[0]}) == 2
