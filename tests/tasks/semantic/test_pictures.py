import numpy as np
import pytest
from PIL import Image

from srzoo.tasks.semantic.pictures import comparison, label_image, overlay

PALETTE = ((255, 0, 0), (0, 0, 200))


def test_label_image_holds_ids_and_colours(tmp_path):
    labels = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    label_image(labels, PALETTE).save(tmp_path / "l.png")
    with Image.open(tmp_path / "l.png") as read:
        assert read.mode == "P"
        assert (np.asarray(read) == labels).all()
        assert (np.asarray(read.convert("RGB"))[labels == 1] == PALETTE[1]).all()


def test_more_than_256_classes_keep_their_ids(tmp_path):
    labels = np.array([[0, 300], [65535, 7]])
    label_image(labels, ()).save(tmp_path / "l.png")
    with Image.open(tmp_path / "l.png") as read:
        assert (np.asarray(read) == labels).all()


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
def test_overlay_of_several_strips(alpha):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (1030, 3)).astype(np.uint8)
    pixels = rng.integers(0, 256, (1030, 3, 3), dtype=np.uint8)
    expected = (1 - alpha) * pixels + alpha * np.array(PALETTE)[labels]
    assert np.abs(np.asarray(overlay(Image.fromarray(pixels), labels, PALETTE, alpha)) - expected).max() <= 1


def test_alpha_out_of_range():
    with pytest.raises(ValueError, match="alpha.* 0 .* 1.* 2$"):
        overlay(Image.new("RGB", (2, 2)), np.zeros((2, 2), np.uint8), PALETTE, 2)


def test_comparison_shows_only_wrong_pixels():
    """Of three pixels the first is right, the second is wrong, and the third is unlabelled."""
    image = Image.new("RGB", (3, 1), (100, 100, 100))
    picture = comparison(
        image, np.array([[0, 0, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8), PALETTE, ("red", "blue")
    )
    pixels = np.asarray(picture)
    line = int(np.flatnonzero((pixels[:, :3] == 100).all((1, 2)))[0])  # above each row its captions
    seen = pixels[[line, 2 * line + 1], :6]
    legend = pixels[2 * line + 2 :].reshape(-1, 3)
    assert all((legend == colour).all(1).sum() > 50 for colour in ([255, 0, 0], [0, 0, 200]))
    assert (seen[0, :3] == 100).all()
    assert seen[1, :3].tolist() == [[255, 0, 0], [255, 0, 0], [0, 0, 0]]
    assert seen[0, 3:].tolist() == [[50] * 3, [0, 0, 200], [50] * 3]
    assert seen[1, 3:].tolist() == [[255, 0, 0], [0, 0, 200], [0, 0, 200]]
