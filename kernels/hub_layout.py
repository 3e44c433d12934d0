"""Lay `srzoo_kernels` out as a repository that Hugging Face's ``kernels`` loads: ``python kernels/hub_layout.py DIR``.

Then ``kernels.get_local_kernel(Path(DIR), trust_remote_code=True)`` loads it, and uploaded to a repository of the type
"kernel", ``kernels.get_kernel("owner/srzoo-kernels", version=1)``. Beside an installed srzoo its operators have a
namespace of their own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = "srzoo_kernels"
# As in build.toml, whose format kernel-builder reads.
NAME, VERSION, LICENCE, BACKENDS = "srzoo-kernels", 1, "Apache-2.0", ("cpu", "cuda", "rocm")


def lay_out(folder: Path) -> None:
    """Write the repository to a new folder: the sources as kernel-builder reads them, and a build for each backend.

    Raises:
        ValueError: the folder has files in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} has files in it; name a new folder")
    digest = _digest()
    _copy(folder / "torch-ext" / PACKAGE)
    for backend in BACKENDS:
        variant = folder / "build" / f"torch-{backend}"
        _copy(variant)
        facts = {
            "id": f"_{PACKAGE}_{backend}_{digest}",
            "name": NAME,
            "version": VERSION,
            "license": LICENCE,
            "python-depends": [],
            "backend": {"type": backend},
        }
        (variant / "metadata.json").write_text(json.dumps(facts, indent=2) + "\n")
    for name in ("build.toml", "README.md"):
        shutil.copy(HERE / name, folder)
    shutil.copy(HERE.parent / "LICENSE", folder)


def _copy(target: Path) -> None:
    shutil.copytree(HERE / PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _digest() -> str:
    """A short hash of the sources, so that two versions can be loaded at once."""
    digest = hashlib.sha256()
    for path in sorted((HERE / PACKAGE).rglob("*.py")):
        digest.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python kernels/hub_layout.py DIR")
    try:
        lay_out(Path(sys.argv[1]))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
