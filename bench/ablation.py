"""Table 2 and Table 3 of the paper at a small scale: srnet_lite0 on CamVid, one budget, several seeds, two heads.

    python bench/ablation.py --data.root PATH [--settings decoder] [--variants none,se] [--seeds 0 1]
    python bench/ablation.py --data.root PATH --settings paper --probes [--seeds 0 1]

Every variant is trained with the same ``PROTOCOL`` and evaluated once on val, after its last step. Nothing is selected
on val. Each run adds a row to ``bench/results/ablation.csv``. Runs that have a row are skipped, and an interrupted run
resumes from its checkpoint. ``--plot`` draws ``bench/results/ablation.png`` from the rows.

The setting ``decoder`` is the head of the published model: stride 16, a light decoder to stride 4. ``paper`` is the
paper's head: stride 8, the block between two 3x3 convolutions, no decoder. ``--probes`` runs variants in which an
effect could show: fewer and more nodes, a LayerNorm of the squeezed vector, crops with sides of 0.5 and 1.5 times the
usual, four times the epochs. A block with another crop or number of epochs is compared with *none* trained in the same
way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from paired import RESULTS, ROOT, machine, read_csv, told, write_csv

sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]
from torch.nn import functional as F

from srzoo.data.opening import open_dataset
from srzoo.layers import SqueezeReasoning
from srzoo.layers.context import CONTEXT_MODULES
from srzoo.recipes.recipe import Recipe

CSV, PLOT = RESULTS / "ablation.csv", RESULTS / "ablation.png"
SETTINGS = {
    "decoder": {},
    "paper": {"output_stride": 8, "decoder_strides": ()},
}
VARIANTS = {
    "none": {"context": "none"},
    **{
        f"sr {squeeze} {reasoning}": {"context": "sr", "squeeze": squeeze, "reasoning": reasoning}
        for squeeze in ("average", "hadamard")
        for reasoning in ("none", "fc", "graph", "attention")
    },
    "sr_released": {"context": "sr_released"},
    **{name: {"context": name} for name in ("se", "nl", "a2", "cgnl", "rcca", "da", "ema", "aspp", "psp")},
}
PROBES = {
    **{f"sr nodes {nodes}": {"context": "sr", "nodes": nodes} for nodes in (4, 64)},
    "sr normalized": {"context": "sr_normalized"},
    **{
        f"{name} crop {crop}": {"context": name, "semantic.crop": crop} for crop in (64, 192) for name in ("none", "sr")
    },
    **{f"{name} epochs 12": {"context": name, "epochs": 12} for name in ("none", "sr")},
}
PROTOCOL = {
    "model": "srnet_lite0_camvid",
    "epochs": 3,
    "batch_size": 4,
    "semantic.crop": 128,  # 20 % of an image's area; the paper's 769 x 769 is 28 % of 1024 x 2048
    "short_side": 240,  # two thirds of CamVid's, so that all runs take less than four core-hours
    "semantic.scale": (0.5, 1.5),
    "lr": 1.5e-3,
    "backbone_lr_scale": 0.4,
    "ema_decay": 0.99,
    "precision": "no",  # float32 on every machine that adds rows
    "evaluate_every": 1000,  # after the last step only
}


class _NormalizedSqueezeReasoning(SqueezeReasoning):
    """Squeeze Reasoning with a LayerNorm, without scale and bias, of its squeezed vector."""

    def squeeze_vector(self, x, moments=None):
        g = super().squeeze_vector(x, moments)
        return F.layer_norm(g, g.shape[1:])


CONTEXT_MODULES["sr_normalized"] = _NormalizedSqueezeReasoning


def recipe(setting: str, variant: str, seed: int) -> Recipe:
    """The recipe of a run."""
    options = {**SETTINGS[setting], **(VARIANTS | PROBES)[variant]}
    protocol = {**PROTOCOL, **{key: options.pop(key) for key in ("semantic.crop", "epochs") if key in options}}
    return Recipe.from_dict({**protocol, "seed": seed, "model_options": options})


def run(setting: str, variant: str, seed: int, root: str, out: Path, workers: int) -> None:
    """Train and evaluate a variant, and add its row to the CSV."""
    from srzoo.train.loop import train  # here, as --help does without its packages

    protocol = recipe(setting, variant, seed)
    splits = (open_dataset(root, split, "camvid") for split in ("train", "val"))
    miou = train(protocol, *splits, out / f"{setting}-{variant.replace(' ', '-')}-{seed}", workers)
    facts = {"epochs": protocol.epochs, "batch_size": protocol.batch_size, "crop": protocol.options.crop}
    device = "cuda" if torch.cuda.is_available() else "cpu"  # the one that training takes
    facts |= machine(device, torch.get_num_threads(), 1)
    row = {"setting": setting, "variant": variant, "seed": seed, "miou": miou, **facts}
    write_csv([*read_csv(CSV), row], CSV)


def plot() -> None:
    """Draw each run as a dot, the mean of a variant as a bar, and the range of the runs without a block in grey."""
    import matplotlib.pyplot as plt

    found = {}
    for row in read_csv(CSV):
        found.setdefault((row["setting"], row["variant"]), []).append(100 * float(row["miou"]))
    heads = {"decoder": "srzoo's head (stride 16, decoder)", "paper": "the paper's head (stride 8)"}
    panels = {title: [(setting, variant) for variant in VARIANTS] for setting, title in heads.items()}
    probes = [(setting, variant) for variant in PROBES for setting in ("paper", "decoder")]
    baseline = [("paper", variant) for variant in ("none", "sr hadamard graph")]
    panels["probes, the paper's head"] = [key for key in [*baseline, *probes] if key in found]
    figure, axes = plt.subplots(1, len(panels), figsize=(16, 1.6 + 0.26 * len(VARIANTS)), layout="constrained")
    for axis, (title, keys) in zip(axes, panels.items(), strict=True):
        is_table = title in heads.values()
        for place, key in enumerate(keys):
            values = found.get(key, [])
            axis.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.7)
            if len(values) > 1:
                axis.plot(sum(values) / len(values), place, "|", color="black", markersize=14)
        if is_table and keys[0] in found:
            axis.axvspan(min(found[keys[0]]), max(found[keys[0]]), color="0.85", zorder=0)
        names = [f"{name}, srzoo's head" if not is_table and head == "decoder" else name for head, name in keys]
        axis.set_yticks(range(len(keys)), names)
        axis.set_ylim(len(keys) - 0.4, -0.6)
        axis.grid(axis="x" if is_table else "both", color="0.9")
        axis.set_xlabel("val mIoU in %, one dot per seed")
        axis.set_title(title)
    figure.savefig(PLOT, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data.root", dest="root")
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--variants", help="comma-separated; default all of both tables")
    parser.add_argument("--probes", action="store_true", help="run the probes instead of the tables")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    variants = options.variants.split(",") if options.variants else list(PROBES if options.probes else VARIANTS)
    settings = options.settings.split(",")
    for option, given, known in (("settings", settings, SETTINGS), ("variants", variants, VARIANTS | PROBES)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"--{option} {unknown[0]}: choose from {', '.join(known)}")
    if not options.root and not options.plot:
        parser.error("give --data.root PATH to train, or --plot to draw what has been trained")
    if options.root:
        for seed in options.seeds:
            for setting in settings:
                for variant in variants:
                    done = {(row["setting"], row["variant"], int(row["seed"])) for row in read_csv(CSV)}
                    if (setting, variant, seed) not in done:
                        run(setting, variant, seed, options.root, options.out, options.workers)
    if options.plot:
        plot()


if __name__ == "__main__":
    told(main)
