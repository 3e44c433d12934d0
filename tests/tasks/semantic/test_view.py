import pytest

from srzoo.cli.arguments import repeated
from srzoo.tasks.semantic.view import View
from srzoo.zoo.transform import Transform


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, r"scales.* 16.*\(\)"),
        ({"scales": (1.0, 0.0)}, r" 16.*\(1\.0, 0\.0\)"),
        ({"scales": (float("nan"),)}, "scales.*nan"),
        ({"scales": (1e6,)}, r"scales.* 16.* \(1000000\.0,\)"),
        ({"window": 512, "tile": 512}, "window=512.*tile=512"),
    ],
)
def test_invalid_views(options, message):
    with pytest.raises(ValueError, match=message):
        View(**options)


def test_arguments_and_sentence_have_all_that_differs_from_the_defaults():
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
