import pytest

from srzoo.train.schedule import cosine, falling, poly


def test_linear_warm_up_and_poly():
    assert [poly(step, 100, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert poly(50, 100, 4) == pytest.approx(0.5**0.9)
    assert poly(100, 100, 4) == poly(101, 100, 4) == 0


def test_falling_to_a_tenth_at_each_milestone():
    factors = [falling(step, 2, (5, 8)) for step in range(10)]
    assert factors == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_to_zero():
    assert [cosine(step, 104, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert cosine(54, 104, 4) == pytest.approx(0.5)
    assert cosine(104, 104, 4) == cosine(200, 104, 4) == pytest.approx(0)


def test_constant_after_the_warm_up():
    assert [falling(step, 2, ()) for step in (0, 1, 2, 1000)] == [0.5, 1, 1, 1]
