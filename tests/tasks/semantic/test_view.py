import pytest

from srzoo.tasks.semantic.protocol import Protocol
from srzoo.zoo.transform import Transform


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "one or more positive numbers"),
        ({"scales": (1.0, 0.0)}, "up to 16, got \\(1.0, 0.0\\)"),
        ({"scales": (float("nan"),)}, "positive"),
        ({"scales": (1e6,)}, "up to 16"),
        ({"window": 512, "tile": 512}, "window=512 and tile=512 exclude each other"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**options)


def test_the_command_line_and_the_sentence_say_all_that_differs():
    transform = Transform(540, multiple=16)
    assert Protocol().arguments() == []
    assert Protocol().sentence(transform).startswith("single scale, no flip, short side 540 into the network")
    protocol = Protocol(scales=(0.75, 1.0), flip=True, tile=512, halo=64)
    assert " ".join(protocol.arguments()) == "--scales 0.75 1.0 --flip --tile 512 --halo 64"
    for part in ("scales 0.75, 1.0, flip", "tiles of 512 pixels with 64 around", "probabilities averaged"):
        assert part in protocol.sentence(transform)
    assert "short side 540 or the image's own where that is larger into" in protocol.sentence(transform)
    assert Protocol(window=384).arguments() == ["--window", "384"]
    assert "sliding window of 384" in Protocol(window=384).sentence(transform)
