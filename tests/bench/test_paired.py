"""What the benchmarks that measure share: arguments in one line before anything is measured, and rows of a file."""

import argparse
import sys

import pytest
import torch


@pytest.fixture
def refused(load_bench, monkeypatch, capsys):
    """The last line of a benchmark that refuses its arguments."""

    def line(name, *arguments):
        bench = load_bench(name)
        monkeypatch.setattr(bench.torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        with pytest.raises(SystemExit) as error:
            bench.main()
        assert error.value.code
        return capsys.readouterr().err.strip().splitlines()[-1]

    return line


@pytest.mark.parametrize(
    "name", ["convolutions", "detection", "detection_ops", "dispatch", "gpu_profile", "head", "models", "sr_block"]
)
@pytest.mark.parametrize(("device", "said"), [("cuda", "no GPU"), ("cuda:1", "CUDA_VISIBLE_DEVICES"), ("gpu", "'gpu'")])
def test_a_device_that_cannot_be_measured(refused, name, device, said):
    line = refused(name, "--device", device)
    assert "--device" in line and said in line


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("convolutions", ["--device", "cpu", "--repeats", "0"], "--repeats"),
        ("gpu_profile", ["--device", "cpu", "elapsed"], "'elapsed'"),  # a method of the profile
        ("head", ["--dtypes", "float23"], "float23"),
        ("models", ["--cases", "512x1-float32"], "'512x1-float32'"),
        ("models", ["--cases", "513x1-float32-eager"], "'513x1-float32-eager'"),
        ("models", ["--cases", "512x0-float32-eager"], "'512x0-float32-eager'"),
        ("models", ["--cases", "512x1-float32-eager+fast"], "'512x1-float32-eager+fast'"),
        ("models", ["--cases", "512x1-float32-fused+replayed"], "--device cuda"),
        ("sr_block", ["--shapes", "1x512x128"], "'1x512x128'"),
        ("sr_block", ["--threads", "two"], "'two'"),
    ],
)
def test_invalid_arguments(refused, name, arguments, said):
    assert said in refused(name, *arguments)


def test_every_form_of_the_block_computes_in_tf32_or_none(load_bench):
    """PyTorch's convolutions do by default, and its products do not."""
    bench, backends = load_bench("sr_block"), (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [each.allow_tf32 for each in backends]
    options = {"device": "cpu", "dtypes": ["float32", "tf32"], "shapes": [(1, 2, 2, 2)], "formats": ["contiguous"]}
    try:
        found = [[each.allow_tf32 for each in backends] for maps in bench.inputs(argparse.Namespace(**options))]
    finally:
        for each, value in zip(backends, before, strict=True):
            each.allow_tf32 = value
    assert found == [[False, False], [True, True]]


def test_the_cases_of_models_are_valid(load_bench):
    models = load_bench("models")
    for case in (*models.CASES, *models.GPU_CASES):
        assert models.case_argument(case) == case


def test_rows_of_other_cases_stay(load_bench, tmp_path):
    paired, path = load_bench("paired"), tmp_path / "rows.csv"
    paired.update_csv([{"what": "a", "ways": 1, "ms": 1}, {"what": "b", "ways": 1, "ms": 2}], path, ("what", "ways"))
    paired.update_csv([{"what": "b", "ways": 1, "ms": 3}, {"what": "b", "ways": 2, "ms": 4}], path, ("what", "ways"))
    assert [tuple(row.values()) for row in paired.read_csv(path)] == [("a", "1", "1"), ("b", "1", "3"), ("b", "2", "4")]


def test_rows_without_a_column_stay_until_their_case_is_measured(load_bench, tmp_path):
    paired, path = load_bench("paired"), tmp_path / "rows.csv"
    paired.write_csv([{"what": "a", "ms": 1}, {"what": "b", "ms": 2}], path)
    paired.update_csv([{"what": "b", "way": "called", "ms": 3}], path, ("what", "way"))
    assert paired.read_csv(path) == [
        {"what": "a", "way": "", "ms": "1"},
        {"what": "b", "way": "called", "ms": "3"},
    ]
    paired.update_csv([{"what": "a", "way": "called", "ms": 4}], path, ("what", "way"))
    assert [(row["what"], row["way"], row["ms"]) for row in paired.read_csv(path)] == [
        ("b", "called", "3"),
        ("a", "called", "4"),
    ]


def test_a_profile_that_shows_only_that_it_runs_leaves_a_gpus(load_bench, tmp_path, monkeypatch):
    profile = load_bench("gpu_profile")
    monkeypatch.setattr(profile, "RESULTS", tmp_path)
    monkeypatch.setattr(profile.Profile, "host", lambda self: [("name", "enqueue", 1.0, "us")])
    monkeypatch.setattr(sys, "argv", ["gpu_profile.py", "host", "--small", "--device", "cpu"])
    with pytest.raises(SystemExit) as error:
        profile.main()
    assert not error.value.code and not list(tmp_path.iterdir())
