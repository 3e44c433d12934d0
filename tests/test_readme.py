"""The commands and code of the README run, and its figures are those of the models."""

import itertools
import re
import shlex
import shutil
import sys

import pytest
from PIL import Image

import srzoo
from srzoo.recipes.recipe import recipe_file


@pytest.fixture
def readme(request):
    return (request.config.rootpath / "README.md").read_text()


@pytest.fixture
def guide(request):
    """Text of a guide by its name."""
    return lambda name: (request.config.rootpath / "docs" / "guides" / f"{name}.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_first_command(readme, run_python, request, tmp_path):
    """Without the install in it, since the package is installed."""
    first = blocks(readme, "bash")[0].strip()
    assert first.startswith("pip install . && srzoo segment ")
    arguments = shlex.split(first.split("&&")[1])[1:]
    result = run_python("-m", "srzoo", *arguments, "--out", str(tmp_path / "segmented"), cwd=request.config.rootpath)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "segmented").iterdir()} == {"street_labels.png", "street_overlay.jpg"}


def test_commands_for_many_images(guide, run_python, request, tmp_path):
    (block,) = (block for block in blocks(guide("segment"), "bash") if "torchrun" in block and "segment" in block)
    first, second = block.strip().splitlines()
    (tmp_path / "photos" / "trip").mkdir(parents=True)
    for name in ("photos/a.png", "photos/trip/b.png"):
        Image.open(request.config.rootpath / "examples" / "street.png").resize((120, 90)).save(tmp_path / name)
    once = run_python("-m", "srzoo", *shlex.split(first, comments=True)[1:])
    assert once.returncode == 0, once.stderr
    results = {path.relative_to(tmp_path / "results").as_posix() for path in (tmp_path / "results").rglob("*.*")}
    assert {"a_labels.png", "trip/b_overlay.jpg", "trip/b_coco.json", "coco.json"} <= results and len(results) == 7
    again = run_python("-m", "torch.distributed.run", "--standalone", *shlex.split(second)[1:])
    assert again.returncode == 0, again.stderr
    assert "0 of 2 images segmented, 2 skipped" in again.stdout


def test_ci_runs_the_test_line(readme, request):
    line = blocks(readme, "bash")[-1].strip()
    assert line == "pip install '.[test]' && pytest"
    assert "grep -m 1" in (ci := (request.config.rootpath / ".ci" / "run").read_text())
    assert r"^pip install '.\[test\]' && pytest" in ci


def test_python_code_runs(readme, run_python, request, tmp_path):
    code = blocks(readme, "python")[0]
    for place in ("examples", "hubconf.py", "srzoo", "kernels"):
        (tmp_path / place).symlink_to(request.config.rootpath / place)
    result = run_python("-c", code, cwd=tmp_path)  # it writes files
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "street_overlay.jpg").is_file()


def test_training_in_python_runs(guide, run_python, tmp_path):
    """For one step on small images."""
    (code,) = (block for block in blocks(guide("train"), "python") if "srzoo.train(" in block)
    assert "epochs=30" in code
    short = "steps=1, batch_size=1, workers=0, short_side=64, precision='no', semantic={'crop': 64}"
    given = "import numpy as np, srzoo\nmask = np.zeros((64, 64), np.uint8)\nmask[:9] = 1\n"
    given += "train_set = val_set = [(np.zeros((64, 64, 3), np.uint8), mask)] * 2\n"
    result = run_python("-c", given + code.replace("epochs=30", short), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / "mine" / "best.safetensors").exists()


def test_export_commands(readme, run_python, request, tmp_path):
    (block,) = (block for block in blocks(readme, "bash") if "srzoo export" in block)
    lines = [line for line in block.splitlines() if line.startswith("srzoo ")]
    assert [shlex.split(line)[1] for line in lines] == ["export", "segment"]
    for line in lines:
        root = str(request.config.rootpath)
        arguments = shlex.split(line.replace("examples/", f"{root}/examples/"), comments=True)[1:]
        result = run_python("-m", "srzoo", *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "segmented").iterdir()} == {"street_labels.png", "street_overlay.jpg"}


def test_video_commands(guide, run_python, request, tmp_path):
    import av

    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    (block,) = (block for block in blocks(guide("video"), "bash") if "clip.mp4" in block)
    lines = [line for line in block.splitlines() if line.startswith("srzoo ")]
    assert len(lines) == 2
    for line in lines:
        result = run_python("-m", "srzoo", *shlex.split(line, comments=True)[1:], cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        (tmp_path / "out.mp4").unlink()


def test_share_commands(guide, run_python, request, tmp_path):
    """Against a hub on the loopback address."""
    from tests.zoo.hub_server import TOKEN, served_hub

    (block,) = (block for block in blocks(guide("share"), "bash") if "srzoo push" in block)
    lines = [line for line in block.splitlines() if line.startswith("srzoo ")]
    assert [shlex.split(line)[1] for line in lines] == ["push", "segment"]
    receipts = srzoo.model_info("srnet_lite0_camvid").weights
    (tmp_path / "runs" / "srnet_lite0_camvid").mkdir(parents=True)
    shutil.copy(receipts.path, tmp_path / "runs" / "srnet_lite0_camvid" / "last.safetensors")
    shutil.copy(receipts.path.with_suffix(".json"), tmp_path / "receipt.json")
    shutil.copy(request.config.rootpath / "examples" / "street.png", tmp_path / "photo.jpg")
    with served_hub() as hub:
        hub_settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "cache")}
        for line in lines:
            settings = {**hub_settings, "HF_HUB_DISABLE_XET": "1"}
            result = run_python("-m", "srzoo", *shlex.split(line)[1:], cwd=tmp_path, env=settings)
            assert result.returncode == 0, result.stderr
        assert ("me/street", "overlay.jpg") in hub.files
    assert (tmp_path / "segmented" / "photo_overlay.jpg").exists()


def test_train_and_eval_commands_are_parsed(readme):
    lines = [
        line
        for block in blocks(readme, "bash")
        for line in block.splitlines()
        if re.match(r"srzoo (train|eval|data)", line)
    ]
    assert len(lines) >= 4
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        with pytest.MonkeyPatch.context() as patch:
            command = sys.modules["srzoo.cli"] if "srzoo.cli" in sys.modules else __import__("srzoo.cli").cli
            seen = []
            patch.setattr(command._COMMANDS[arguments[0]], "run", lambda options, seen=seen: seen.append(options) or 0)
            assert command.main(arguments) == 0
            given = vars(seen[0])
            assert (given.get("data.root") or given["root"]) in ("PATH", "my_data")


def test_table_of_models(readme):
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) M \| ([\d.]+) G at (\d+)x(\d+) \| .* \| (.*) \|$", readme, re.MULTILINE)
    assert len(rows) >= 5
    for name, parameters, macs, width, height, measured in rows:
        info = srzoo.model_info(name)
        assert f"{info.parameters / 1e6:.2f}" == parameters, name
        assert f"{info.macs / 1e9:.2f}" == macs, name
        assert info.input_size == (int(height), int(width)), name
        if info.metrics is None:
            assert measured == f"[not run yet](srzoo/recipes/{recipe_file(info.recipe).name})"
        else:
            splits = itertools.groupby(info.weights.receipts(), lambda each: each["split"])
            wanted = [figures(info, *receipts) for _, receipts in splits]
            wanted += [] if "test" in info.weights.by_split() else ["not yet measured on test"]
            assert measured == "; ".join(wanted).replace("%", "")


def figures(info: srzoo.ModelInfo, single: dict, *more: dict) -> str:
    """The figures of one split: single scale, then at several scales."""
    name = "" if info.task == "semantic" else f"{single['headline']} "
    wanted = [f"{name}{headline(single):.1%} on {single['split']}{spread(info, single)}"]
    for each in more:
        scales = len(each["view"]["scales"])
        wanted.append(f"{headline(each):.1%} at {scales} scales with flip{spread(info, each)}")
    return ", ".join(wanted)


def headline(receipt: dict) -> float:
    return receipt["figures"][receipt["headline"]]


def spread(info: srzoo.ModelInfo, receipt: dict) -> str:
    values = [headline(each) for each in (receipt, *info.weights.repeats(receipt))]
    return f" ({min(values):.1%} to {max(values):.1%} over {len(values)} seeds)" if len(values) > 1 else ""


def test_links_exist(readme, request):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (request.config.rootpath / target).exists(), target
