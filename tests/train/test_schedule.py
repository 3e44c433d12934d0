import pytest

from srzoo.train.schedule import poly


def test_linear_warm_up_and_poly():
    assert [poly(step, 100, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert poly(50, 100, 4) == pytest.approx(0.5**0.9)
    assert poly(100, 100, 4) == poly(101, 100, 4) == 0
