import pytest

from srzoo import Segmenter
from srzoo.data.formats import open_dataset
from srzoo.published import PUBLISHED
from srzoo.train.evaluation import evaluate
from srzoo.train.receipt import make_receipt


def test_the_receipt_s_figures_come_out_again(camvid):
    """The shipped weights on the real split, by the code of today."""
    name = "srnet_lite0_camvid"
    dataset = open_dataset(camvid, "val")
    segmenter = Segmenter(name, device="cpu")
    receipt = make_receipt(name, segmenter.config, dataset, evaluate(segmenter.model, dataset))
    shipped = PUBLISHED[name].receipt()
    assert receipt["split_sha256"] == shipped["split_sha256"]
    assert receipt["weights_sha256"] == shipped["weights_sha256"]
    assert receipt["miou"] == pytest.approx(shipped["miou"], abs=1e-3)
    assert receipt["iou"] == pytest.approx(shipped["iou"], abs=5e-3)
    assert shipped["miou"] > 0.70


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
