import pytest

from srzoo.cli.arguments import repeated
from srzoo.tasks.semantic.view import View
from srzoo.zoo.transform import Transform


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "one or more positive numbers"),
        ({"scales": (1.0, 0.0)}, "up to 16, got \\(1.0, 0.0\\)"),
        ({"scales": (float("nan"),)}, "nan"),
        ({"scales": (1e6,)}, "up to 16"),
        ({"window": 512, "tile": 512}, "window=512 and tile=512 exclude each other"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        View(**options)


def test_the_command_line_and_the_sentence_say_all_that_differs():
    transform = Transform(540, multiple=16)
    assert repeated(View()) == []
    assert View().sentence(transform).startswith("single scale, no flip, short side 540 into the network")
    view = View(scales=(0.75, 1.0), flip=True, tile=512, halo=64)
    assert " ".join(repeated(view)) == "--scales 0.75 1.0 --flip --tile 512 --halo 64"
    for part in ("scales 0.75, 1.0, flip", "tiles of 512 pixels with 64 around", "probabilities averaged"):
        assert part in view.sentence(transform)
    assert "short side 540 or the image's own where that is larger into" in view.sentence(transform)
    assert repeated(View(window=384)) == ["--window", "384"]
    assert "sliding window of 384" in View(window=384).sentence(transform)
