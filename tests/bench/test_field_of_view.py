import numpy as np
import pytest

from srzoo.data.objects import PanopticSample, Segment


@pytest.fixture
def view(load_bench):
    return load_bench("field_of_view")


def test_crops_are_the_parts_of_an_image_with_their_segments(view):
    ids = np.zeros((5, 7), np.int32)
    ids[:2] = 4
    ids[2:, 3:] = 9
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    segments = [Segment(4, 1, False, 14), Segment(9, 0, True, 12)]
    crops = view.crops_of([PanopticSample(image, ids, segments)], 2)
    assert len(crops) == 6  # the last row and column make no whole crop
    first, last = crops[0], crops[5]
    assert np.array_equal(first.image, image[:2, :2]) and first.segments == [Segment(4, 1, False, 4)]
    assert np.array_equal(last.ids, ids[2:4, 4:6]) and last.segments == [Segment(9, 0, True, 4)]
    assert crops[3].segments == [] and not crops[3].ids.any()


def test_what_the_rows_say(view):
    figures = {"none": ((0.30, 0.20), (0.32, 0.23)), "sr": ((0.29, 0.21), (0.30, 0.24))}
    rows = [
        {"context": name, "seed": str(seed), "whole": str(whole), "crops": str(crops)}
        for name, values in figures.items()
        for seed, (whole, crops) in enumerate(values)
    ]
    none, sr = view.lines(rows, "context")
    assert none == "none: whole 31.00, crops 21.50"
    assert sr.startswith("sr: whole 29.50, crops 22.50; whole against none -1.50 (")
    assert "crops against none +1.00 (" in sr and "gap smaller on crops by +2.50 (" in sr
    assert view.lines([row for row in rows if row["seed"] == "0"], "context")[1] == "sr: whole 29.00, crops 21.00"


@pytest.mark.parametrize(("name", "said"), [("camvid_rate", "panoptic.crop"), ("facade_panoptic", "is finished")])
def test_a_queue_that_cannot_be_measured_is_one_line(view, request, tmp_path, monkeypatch, name, said):
    queue = request.config.rootpath / "bench" / "queues" / f"{name}.yaml"
    command = ["field_of_view.py", str(queue), "--data.root", "nowhere", "--out", str(tmp_path), "--threads", "1"]
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setattr(view.torch, "set_num_threads", lambda _: None)
    with pytest.raises(SystemExit, match=said):
        view.told(view.main)
