import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import srzoo
from srzoo import Segmenter
from srzoo.labels import IGNORE
from srzoo.tasks.semantic.metrics import ConfusionMatrix

NAMES = ("street", "crossing", "cyclist")


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("srnet_lite0_camvid", device="cpu")


def test_real_frames_are_segmented_well(segmenter, examples):
    """Against the annotations, with the shipped weights: far above what an untrained or shifted model would give."""
    matrix = ConfusionMatrix(11)
    for name in NAMES:
        ids = np.asarray(Image.open(examples / "annotations" / f"{name}.png"))
        labels = segmenter(examples / f"{name}.png").labels
        matrix.update(torch.from_numpy(labels), torch.from_numpy(np.where(ids == 11, IGNORE, ids)))
    assert matrix.pixel_accuracy() > 0.9
    assert matrix.mean_iou() > 0.65


def test_result_is_at_the_image_s_own_size(segmenter, examples):
    image = Image.open(examples / "street.png").convert("RGB").resize((431, 287))
    result = segmenter(image)
    assert result.labels.shape == (287, 431)
    assert result.labels.dtype == np.uint8
    assert result.overlay().size == result.label_image().size == (431, 287)
    probabilities = result.probabilities()
    assert probabilities.shape == (11, 287, 431)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    top_two = np.sort(probabilities, 0)[-2:]
    clear = top_two[1] - top_two[0] > 1e-4
    assert (probabilities.argmax(0) == result.labels)[clear].all()
    assert clear.mean() > 0.99


def test_shares_add_up_and_are_sorted(segmenter, examples):
    shares = segmenter(examples / "street.png").shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert {"road", "building", "tree", "car"} <= set(shares)


def test_every_kind_of_input_gives_the_same(segmenter, examples):
    path = examples / "crossing.png"
    array = np.array(Image.open(path).convert("RGB"))
    expected = segmenter(path).labels
    for source in (str(path), Image.open(path), array, array / 255.0, torch.from_numpy(array).permute(2, 0, 1)):
        assert (segmenter(source).labels == expected).all()
    results = segmenter([path, array])
    assert [(r.labels == expected).all() for r in results] == [True, True]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3, 2), (3000, 7)])
def test_extreme_sizes(segmenter, size):
    assert segmenter(Image.new("RGB", size, "gray")).labels.shape == size[::-1]


def test_a_model_of_one_s_own(examples):
    model = srzoo.create_model("srnet_lite0_camvid", num_classes=300)
    result = Segmenter(model)(examples / "street.png")
    assert result.labels.dtype == np.int64
    assert result.label_image().mode.startswith("I;16")


def test_tiles_see_small_things_in_a_large_image(examples):
    """A model that is used to small inputs loses the cyclist, unless the image is too large for it to be reduced."""
    model = srzoo.create_model("srnet_lite0_camvid", pretrained=True)
    model.reconfigure(transform=dataclasses.replace(model.config.transform, short_side=64))
    bicyclist = np.asarray(Image.open(examples / "annotations" / "cyclist.png")) == 10
    labels = [Segmenter(model, "cpu", tile)(examples / "cyclist.png").labels for tile in (None, 256)]
    reduced, tiled = (((ids == 10) & bicyclist).sum() / ((ids == 10) | bicyclist).sum() for ids in labels)
    assert tiled > reduced + 0.1


def test_notebook_picture(segmenter, examples):
    assert segmenter(examples / "street.png")._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("srnet_lite0_camvid", "cuda:99"), ValueError, "device 'cuda:99' is not available here"),
        (("srnet_lite0_camvid", "toaster"), ValueError, "device 'toaster' is not available here"),
        (("gone.safetensors",), FileNotFoundError, "no weights file gone.safetensors"),
        (("srnet_lite0_camvit",), ValueError, "did you mean 'srnet_lite0_camvid'"),
        ((torch.nn.Identity(),), ValueError, "create_model and load_model make, got Identity"),
        (("srnet_lite0_camvid", "cpu", 500), ValueError, "tile=500 must be"),
        (("srnet_lite0_camvid", "cpu", "wide"), ValueError, "tile must be a whole number"),
    ],
)
def test_construction_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Segmenter(*arguments)


def test_calls_do_not_influence_each_other(segmenter, examples):
    first = segmenter(examples / "street.png").labels
    segmenter(examples / "cyclist.png")
    assert (segmenter(examples / "street.png").labels == first).all()
