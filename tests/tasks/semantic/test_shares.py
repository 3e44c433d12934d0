import numpy as np
import pytest

from srzoo.data.opening import open_dataset
from srzoo.tasks.semantic import shares


def test_shares_are_of_the_labelled_pixels(write_pairs):
    root = write_pairs([9, 9, 9, 9], [0, 0, 1, 255], [0, 1, 1, 255])
    (root / "train.txt").write_text("f1\nf2\n")
    (root / "val.txt").write_text("f0")
    dataset = open_dataset(root, "train", num_classes=3)
    assert shares.label_shares(dataset, 3).tolist() == [0.5, 0.5, 0]


def test_many_masks_are_sampled_over_the_whole_split(write_pairs, monkeypatch):
    root = write_pairs(*[[i // 5] for i in range(10)], [0])
    (root / "train.txt").write_text("\n".join(f"f{i}" for i in range(10)))
    (root / "val.txt").write_text("f10")
    monkeypatch.setattr(shares, "_COUNTED", 4)
    counted = shares.label_shares(open_dataset(root, "train", num_classes=2), 2)
    assert counted.tolist() == [0.5, 0.5]


def test_nothing_but_void(write_pairs):
    root = write_pairs([255], [255])
    with pytest.raises(ValueError, match="no pixel .* void"):
        shares.label_shares(open_dataset(root, "train", num_classes=3), 3)


def test_rare_classes_weigh_more_and_absent_ones_do_not_dilute_the_others():
    weights = shares.class_weights(np.array([0.7, 0.29, 0.01]))
    assert weights.tolist() == sorted(weights)
    assert weights.mean() == pytest.approx(1)
    padded = shares.class_weights(np.array([0.7, 0.29, 0.01, 0]))
    assert padded[:3] == pytest.approx(weights)
