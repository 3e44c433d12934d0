"""The model files of a run, and what a path is that was given for a model and is none."""

from __future__ import annotations

from pathlib import Path

RUN_FILES = ("last.safetensors", "best.safetensors")  # the weights of a run after its last and its best epoch
OLD_RUN_FILE = "model.safetensors"  # what version 0.1 called the last
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".tar")

_EXPORTS = {
    ".onnx": "an ONNX file is for prediction alone, by srzoo.Segmenter, `srzoo segment` and `srzoo eval`",
    ".pt2": "what `srzoo export` wrote runs without srzoo, by torch.export.load or torch._inductor.aoti_load_package",
}


def meant_by(source: object) -> str:
    """What to give instead of a path that is no model file, for the end of an error; empty if that is unknown.

    Args:
        source: what was given for a model.
    """
    path = Path(source) if isinstance(source, (str, Path)) and str(source) else None
    if path is None or not path.exists():
        return ""
    folder = path if path.is_dir() else path.parent
    last, best = RUN_FILES
    if (folder / best).is_file() or (folder / last).is_file():
        what = "the folder of a run" if path.is_dir() else "a file of a run"
        return f"; it is {what}: pass {folder / best}, of its best epoch, or {folder / last}, of its last"
    if path.is_dir():
        return "; it is a folder, pass the .safetensors file in it"
    if path.suffix.lower() in _CHECKPOINTS:
        return (
            "; `srzoo convert` converts checkpoints of the authors and of other projects, and pretrained_backbone=FILE "
            "reads the weights of a backbone, as does `srzoo train` with --start FILE"
        )
    if path.suffix.lower() in _EXPORTS:
        return f"; {_EXPORTS[path.suffix.lower()]}"
    return "; it is no model file, which ends in .safetensors"
