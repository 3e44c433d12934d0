"""COCO files changed at random places are read right, or refused in one line with their name."""

import random
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).with_name("mutated_coco.py"))


def run(run_python, seed: int, count: int, timeout: float) -> None:
    result = run_python("-X", "faulthandler", SCRIPT, str(seed), str(count), timeout=timeout)
    assert result.returncode == 0, f"seed {seed}: {result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    read = int(result.stdout.split(" cases, ")[-1].split()[0])
    assert 0.1 * count < read < 0.6 * count  # both happen


def test_mutated_files(run_python):
    run(run_python, seed=0, count=150, timeout=240)


@pytest.mark.slow
def test_many_mutated_files_of_a_new_seed(run_python):
    run(run_python, seed=random.SystemRandom().randrange(1 << 32), count=1500, timeout=1800)
