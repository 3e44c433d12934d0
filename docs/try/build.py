"""Put a model and onnxruntime-web beside the page: ``python docs/try/build.py [--model NAME] [--out DIR]``.

The page then works from any static server, without another host. npm fetches the package, whose hash is checked.
"""

import argparse
import base64
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import srzoo

PACKAGE = "onnxruntime-web@1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
HERE = Path(__file__).parent


def runtime(out: Path) -> None:
    """The files of onnxruntime-web that the page loads."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != SHA512:
            raise ValueError(f"{PACKAGE} has sha512 {digest[:12]}..., expected {SHA512[:12]}...")
        with tarfile.open(archive) as content:
            for name in FILES:
                with content.extractfile(f"package/dist/{name}") as source, (out / name).open("wb") as target:
                    shutil.copyfileobj(source, target)


def network(name: str, out: Path) -> None:
    """The model, from RGB bytes to class ids, and its facts."""
    model = srzoo.load_model(name) if Path(name).is_file() else srzoo.create_model(name, pretrained=True)
    config = model.config
    if config.task != "semantic" or config.transform.fit != "stretch":
        raise ValueError(f"{name} is for {config.task} segmentation; the page takes semantic models")
    srzoo.export_onnx(model, out / "model.onnx", images="uint8", output="labels")
    facts = {
        "name": Path(name).stem,
        "classes": config.classes,
        "palette": config.palette,
        "transform": dataclasses.asdict(config.transform),
    }
    (out / "model.json").write_text(json.dumps(facts), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="srnet_lite0_camvid", help="a name with weights, or a .safetensors file")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the page (default: beside this file)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    network(options.model, options.out)
    runtime(options.out)
    for name in ("index.html", "try.js"):
        if options.out.resolve() != HERE.resolve():
            shutil.copy(HERE / name, options.out)
    print(f"{options.out}: python -m http.server --directory {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
