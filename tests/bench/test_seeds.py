import pytest
from scipy import stats

AXES = {"head": ["decoder", "paper"], "context": ["none", "sr", "se"]}
FIGURES = {"none": (0.5, 0.52, 0.54), "sr": (0.53, 0.56), "se": (0.5,)}


@pytest.fixture
def seeds(load_bench):
    return load_bench("seeds")


def rows_of(figures, device="AMD EPYC, 2 cores"):
    return [
        {"run": "", "head": "paper", "context": name, "seed": str(i), "headline": "mIoU", "last": str(value)}
        | {"device": device}
        for name, values in figures.items()
        for i, value in enumerate(values)
    ]


def test_mean_spread_and_interval(seeds):
    none, sr, se = seeds.lines(rows_of(FIGURES), AXES, "context")
    assert none == "paper none: 52.00 over 3 seeds, standard deviation 2.00"
    assert se == "paper se: 50.00 over 1 seed"
    interval = stats.ttest_ind([53, 56], [50, 52, 54], equal_var=False).confidence_interval(0.95)
    assert f"against none +2.50 ({interval.low:+.2f} to {interval.high:+.2f}, 95 %)" in sr


def test_without_the_first_value_nothing_is_compared(seeds):
    figures = {"sr": (0.5, 0.6), "se": (0.4, 0.5)}
    assert not [line for line in seeds.lines(rows_of(figures), AXES, "context") if "against" in line]


def test_a_gpus_runs_are_not_averaged_with_a_cpus(seeds):
    rows = [*rows_of({"none": (0.5, 0.6)}), *rows_of({"none": (0.1,)}, "Intel Xeon, 8 cores")]
    rows += rows_of({"none": (0.8,)}, "NVIDIA H100")
    assert seeds.lines(rows, AXES, "context") == [
        "paper CPU none: 40.00 over 3 seeds, standard deviation 26.46",
        "paper NVIDIA H100 none: 80.00 over 1 seed",
    ]


def test_the_picture_has_a_panel_for_each_group(seeds, tmp_path):
    pytest.importorskip("matplotlib")
    seeds.draw([*rows_of(FIGURES), *rows_of(FIGURES, "NVIDIA H100")], AXES, "context", tmp_path / "seeds.png")
    seeds.draw(rows_of({"se": (0.5,)}), AXES, "context", tmp_path / "one.png")
    assert (tmp_path / "seeds.png").stat().st_size > (tmp_path / "one.png").stat().st_size > 0
