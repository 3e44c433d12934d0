import pytest
from torch import nn

from srzoo.layers import SqueezeReasoning, build_context


def test_a_name_gives_its_module_with_its_options():
    module = build_context("sr", 64, nodes=8)
    assert isinstance(module, SqueezeReasoning)
    assert (module.channels, module.nodes) == (64, 8)
    assert isinstance(build_context("none", 64), nn.Identity)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nonlocal", {}, "unknown context module 'nonlocal'; choose one of sr, sr_released, none"),
        ("none", {"nodes": 8}, "context='none' takes no options, got nodes"),
        ("sr", {"nodes": 7}, "64/2 = 32 is not divisible by nodes=7"),
    ],
)
def test_errors_say_what_to_pass(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_context(name, 64, **options)
