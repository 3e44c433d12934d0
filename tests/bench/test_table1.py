import pytest


@pytest.fixture
def table1(load_bench):
    return load_bench("table1")


def row(side: int, ms: float, mib: float, status: str = "measured") -> dict[str, str]:
    facts = {"device": "", "threads": "2", "torch": "", "commit": ""}
    measured = {"ms": str(ms), "extra_mib": str(mib)} if status == "measured" else {"ms": "", "extra_mib": ""}
    return {"method": "RCCA", "height": str(side), "width": str(side), "status": status, **measured, **facts}


def test_exponents_are_those_of_the_measured_sizes(table1):
    rows = [row(48, 999, 999)]  # below the smallest size in the fit
    rows += [row(side, side**3, 5 * side**2) for side in (64, 96, 128)]
    rows += [row(256, 0, 0, "out of memory")]
    line = table1.line("RCCA", rows)
    assert (line["time_exponent"], line["peak_memory_exponent"]) == (1.5, 1.0)
    assert (line["sizes"], line["up_to"]) == (3, "128x128")


def test_two_points_are_too_few_for_a_fit(table1):
    with pytest.raises(ValueError, match="three .*got 2"):
        table1.exponent([(1, 1.0), (2, 2.0)])
