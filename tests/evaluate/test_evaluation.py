import json

import pytest
import torch

from srzoo import Segmenter
from srzoo.cli import main
from srzoo.data.opening import open_dataset
from srzoo.evaluate.evaluation import evaluate, predictions
from srzoo.tasks.semantic.protocol import Protocol
from srzoo.zoo.published import PUBLISHED

NAME = "srnet_lite0_camvid"
RECEIPTS = [(name, place) for name, weights in PUBLISHED.items() for place in range(len(weights.receipts()))]
RECEIPTS = [  # the first of each model in every run
    pytest.param(name, place, marks=[pytest.mark.slow] if place else []) for name, place in RECEIPTS
]


@pytest.mark.parametrize(("name", "place"), RECEIPTS)
def test_the_receipt_s_figures_come_out_again(name, place, camvid, tmp_path):
    """The shipped weights on the real split, by the code of today and the command in the receipt."""
    shipped = PUBLISHED[name].receipts()[place]
    command = shipped["command"].replace("PATH", str(camvid)).split()[1:]
    assert main([*command, "--receipt", str(tmp_path / "r.json"), "--device", "cpu"]) == 0
    (receipt,) = json.loads((tmp_path / "r.json").read_text())
    for key in ("split_sha256", "weights_sha256", "protocol", "images", "pixels"):
        assert receipt[key] == shipped[key]
    assert receipt["miou"] == pytest.approx(shipped["miou"], abs=1e-3)
    assert receipt["boundary_f1"] == pytest.approx(shipped["boundary_f1"], abs=1e-3)
    assert receipt["iou"] == pytest.approx(shipped["iou"], abs=5e-3)
    assert shipped["miou"] > 0.60


def test_evaluation_is_what_the_segmenter_shows(small_camvid):
    """Same pixels from both, so a figure in a receipt is one that a user sees."""
    segmenter = Segmenter("srnet_lite0_camvid", device="cpu")
    dataset = open_dataset(small_camvid, "train")
    matrix = evaluate(segmenter.model, dataset)
    hits = total = 0
    for image, ids in (dataset[index] for index in range(len(dataset))):
        labels = segmenter(image).labels
        hits += ((labels == ids) & (ids != 255)).sum()
        total += (ids != 255).sum()
    assert matrix.pixel_accuracy() == pytest.approx(hits / total, abs=1e-6)
    assert matrix.counts.sum() == total


def test_protocols_that_should_agree_nearly_do(small_camvid):
    """Tiles, windows and averaging answer the same question: pixel accuracy within a point, and not the same labels."""
    model = Segmenter(NAME, device="cpu").model
    dataset = open_dataset(small_camvid, "val", "camvid")
    plain = evaluate(model, dataset)
    for protocol in (Protocol(tile=384), Protocol(window=512), Protocol(scales=(0.75, 1.0), flip=True)):
        matrix = evaluate(model, dataset, protocol)
        assert matrix.counts.sum() == plain.counts.sum()
        assert matrix.pixel_accuracy() == pytest.approx(plain.pixel_accuracy(), abs=0.01)
        assert not torch.equal(matrix.counts, plain.counts)


def test_the_model_goes_on_as_it_was(small_camvid):
    model = Segmenter(NAME, device="cpu").model
    for mode in (True, False):
        model.train(mode)
        (prediction,) = predictions(model, open_dataset(small_camvid, "val", "camvid"), Protocol(scales=(0.25,)))
        assert model.training is mode
    assert prediction.labels.shape == prediction.target.shape == (360, 480)
    assert prediction.target.min() == -1
