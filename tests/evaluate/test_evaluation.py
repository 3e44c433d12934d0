import json

import pytest

from srzoo import Segmenter, model_info
from srzoo.cli import main
from srzoo.data.opening import open_dataset
from srzoo.evaluate.evaluation import evaluate, predictions
from srzoo.tasks.semantic.view import View
from srzoo.zoo.published import PUBLISHED

NAME = "srnet_lite0_camvid"
RECEIPTS = [name if name == NAME else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED]


@pytest.mark.parametrize("name", RECEIPTS)
def test_receipt_of_published_weights_is_reproduced(name, request, tmp_path):
    """Runs the command of the receipt, on the real split.

    The receipt of one scale: several take six times as long, and what they add, an image's other sizes, its mirror
    image and the mean of them all, ``tests/tasks/semantic/test_inference.py`` has.
    """
    shipped = PUBLISHED[name].receipt()
    root = request.getfixturevalue(model_info(name).dataset)
    command = shipped["command"].replace("PATH", str(root)).split()[1:]
    assert main([*command, "--receipt", str(tmp_path / "r.json"), "--device", "cpu"]) == 0
    (receipt,) = json.loads((tmp_path / "r.json").read_text())
    for key in ("split_sha256", "weights_sha256", "protocol", "images", "headline", "command"):
        assert receipt[key] == shipped[key]
    # Another number of threads moves a detection across the least score, or a segment across half an overlap.
    is_semantic = shipped["headline"] == "mIoU"
    assert receipt["facts"] == pytest.approx(shipped["facts"], rel=0 if is_semantic else 0.01)
    # Fields of the view, and figures, that the shipped one has not.
    later = {"threshold": None, "leave_out": [], "tile_scale": "image"} if "scales" in shipped["view"] else {}
    assert receipt["view"] == {**later, **shipped["view"]}
    assert receipt["figures"].keys() - shipped["figures"].keys() <= {"mean Dice"}
    for figure, value in shipped["figures"].items():
        assert receipt["figures"][figure] == pytest.approx(value, abs=1e-3 if is_semantic else 5e-3)
    for figure, values in shipped["by_class"].items():
        assert receipt["by_class"][figure] == pytest.approx(values, abs=5e-3 if is_semantic else 2e-2)
    assert shipped["figures"][shipped["headline"]] > {"mIoU": 0.50, "PQ": 0.35, "mask AP": 0.2}[shipped["headline"]]


def test_evaluation_equals_the_segmenter(small_camvid):
    """Both have the same labels, so the figures of a receipt are those of what a user sees."""
    segmenter = Segmenter("srnet_lite0_camvid", device="cpu")
    dataset = open_dataset(small_camvid, "train")
    score = evaluate(segmenter.model, dataset)
    hits = total = 0
    for image, ids in (dataset[index] for index in range(len(dataset))):
        labels = segmenter(image).labels
        hits += ((labels == ids) & (ids != 255)).sum()
        total += (ids != 255).sum()
    assert score.figures["pixel accuracy"] == pytest.approx(hits / total, abs=1e-6)
    assert score.facts["pixels"] == total


def test_views_nearly_agree(small_camvid):
    """Tiles, windows and averages change some labels, but pixel accuracy by less than a point."""
    model = Segmenter(NAME, device="cpu").model
    dataset = open_dataset(small_camvid, "val", "camvid")
    plain = evaluate(model, dataset)
    for view in (View(tile=384), View(window=512), View(scales=(0.75, 1.0), flip=True)):
        score = evaluate(model, dataset, view)
        assert score.facts["pixels"] == plain.facts["pixels"]
        assert score.figures["pixel accuracy"] == pytest.approx(plain.figures["pixel accuracy"], abs=0.01)
        assert score.figures != plain.figures


def test_model_returns_to_its_mode(small_camvid):
    model = Segmenter(NAME, device="cpu").model
    for mode in (True, False):
        model.train(mode)
        (prediction,) = predictions(model, open_dataset(small_camvid, "val", "camvid"), View(scales=(0.25,)))
        assert model.training is mode
    assert prediction.result.labels.shape == prediction.sample[1].shape == (360, 480)
    assert prediction.index == 0


def test_brief_score_has_the_same_headline_figure(small_camvid):
    model, dataset = Segmenter(NAME, device="cpu").model, open_dataset(small_camvid, "val", "camvid")
    brief, full = evaluate(model, dataset, brief=True), evaluate(model, dataset)
    assert brief.headline == full.headline == "mIoU"
    assert brief.value == full.value
    assert "boundary F1" in full.figures and "boundary F1" not in brief.figures
