"""The mean of the weights of several trainings of one model, as a model file.

    python bench/average.py RUN/last.safetensors OTHER/last.safetensors [...] --out FILE.safetensors

Trainings that continue each other, or that start from the same weights, can be averaged (Wortsman et al., "Model
soups", ICML 2022); from different starts the mean is worthless. The file has the configuration of the first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from paired import ROOT, told

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import srzoo
from srzoo.state_dicts import misfit


def average(files: list[Path]) -> torch.nn.Module:
    """The model of the first file with the mean of the weights and statistics of all.

    Raises:
        ValueError: a file is no model's, or of another model than the first.
        OSError: a file cannot be read.
    """
    models = [srzoo.load_model(file) for file in files]
    for model in models:
        model.reconfigure(thresholds={})  # the mean has none yet
    states = [model.state_dict() for model in models]
    for file, model, state in zip(files, models, states):
        problem = misfit(state, states[0]) or ("has other options" if model.config != models[0].config else "")
        if problem:
            raise ValueError(f"{file} and {files[0]} are of different models: the former {problem}")
    with torch.no_grad():
        for name, value in states[0].items():  # shares its memory with the model
            if value.is_floating_point():
                value.copy_(torch.stack([state[name].double() for state in states]).mean(0))
    return models[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="srzoo's .safetensors files")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--half", action="store_true", help="store float16, as the files that ship; default float32")
    options = parser.parse_args()
    srzoo.save_model(average(options.files), options.out, torch.float16 if options.half else None)
    print(f"{options.out}: the mean of {len(options.files)}")


if __name__ == "__main__":
    told(main)
