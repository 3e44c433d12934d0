"""Tests of the counts in Table 3."""

import pytest


@pytest.fixture
def table3(load_bench):
    return load_bench("table3")


def test_every_row_agrees_with_the_paper_or_has_a_reason(table3):
    lines = {line["row"]: line for line in table3.counts()}
    assert [name for name, line in lines.items() if not line["agrees"]] == list(table3.BECAUSE)
    assert len(lines) == 17


def test_the_reasons_are_true(table3):
    rows = {row.name: table3.count(row) for row in table3.ROWS if row.name in table3.BECAUSE}
    pixels, channels = 96 * 96, 512
    assert rows["+ASPP"]["parameters_m"] * pixels / 1e3 < 148.37 * 0.98
    assert rows["+SE"]["multiply_adds_g"] + 2 * channels * pixels / 1e9 == pytest.approx(0.00947, rel=1e-3)
    assert rows["+EMAU"]["parameters_m"] < 0.535
    assert rows["+EMAU"]["parameters_m"] + 64 * channels / 1e6 > 0.545


@pytest.mark.parametrize(
    ("ours", "printed", "agreed"),
    [(0.534, "0.53", True), (0.54, "0.53", False), (101.9, "100.00", True), (102.1, "100.00", False)],
)
def test_a_figure_agrees_after_rounding_or_within_the_tolerance(table3, ours, printed, agreed):
    assert table3.agrees(ours, printed, 0.02 if ours > 1 else 0.01) == agreed
